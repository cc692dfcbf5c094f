package vip

import (
	"net/netip"
	"testing"
	"time"
)

// links is a kernel that only shows.
type links struct {
	kernel
	list []InterfaceAddress
}

func (l links) Lookup(name string) (Interface, error) {
	if name != "eth0" {
		return Interface{}, ErrAbsent
	}
	return Interface{Name: name, Index: 2}, nil
}

func (l links) List(int) ([]InterfaceAddress, error) { return l.list, nil }

func TestRenewed(t *testing.T) {
	a, b := netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("192.0.2.11/24")
	c := Config{Interface: "eth0", Lifetime: 9 * time.Second, Addresses: []Address{{Prefix: a}, {Prefix: b}}}
	elsewhere := c
	elsewhere.Interface = "eth1"
	for _, x := range []struct {
		name   string
		c      Config
		la, lb time.Duration // 0: absent; less: for ever
		want   bool
	}{
		{"fresh", c, 9 * time.Second, 9 * time.Second, true},
		{"a renewal ago", c, 6 * time.Second, 5 * time.Second, true},
		{"one was not renewed", c, 9 * time.Second, 4 * time.Second, false},
		{"one is missing", c, 9 * time.Second, 0, false},
		{"one is somebody's", c, 9 * time.Second, -1, true},
		{"all are somebody's", c, -1, -1, false},
		{"no interface", elsewhere, 9 * time.Second, 9 * time.Second, false},
	} {
		var l links
		for p, d := range map[netip.Prefix]time.Duration{a: x.la, b: x.lb} {
			if d != 0 {
				l.list = append(l.list, InterfaceAddress{Prefix: p, Permanent: d < 0, Lifetime: max(d, 0)})
			}
		}
		if got := renewed(l, x.c); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}
