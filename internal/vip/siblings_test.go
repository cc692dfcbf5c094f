package vip

import (
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

func TestSiblings(t *testing.T) {
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for name, tc := range map[string]struct {
		ours, there []string
		want        []bool
	}{
		"alone":                    {[]string{"192.0.2.10/24"}, nil, []bool{false}},
		"itself":                   {[]string{"192.0.2.10/24"}, []string{"192.0.2.10/24"}, []bool{false}},
		"beside the machine's own": {[]string{"192.0.2.10/24", "192.0.2.11/32"}, []string{"192.0.2.1/24"}, []bool{true, false}},
		"two of ours":              {[]string{"192.0.2.10/24", "192.0.2.11/24"}, nil, []bool{true, true}},
		"another length":           {[]string{"192.0.2.10/25"}, []string{"192.0.2.1/24"}, []bool{false}},
		"another subnet":           {[]string{"192.0.3.10/24"}, []string{"192.0.2.1/24"}, []bool{false}},
		"full length":              {[]string{"192.0.2.10/32"}, []string{"192.0.2.10/32", "192.0.2.11/32"}, []bool{false}},
		"IPv6":                     {[]string{"2001:db8::1/64", "2001:db8::2/64"}, nil, []bool{false, false}},
	} {
		var list []InterfaceAddress
		for _, p := range prefixes(tc.there...) {
			list = append(list, InterfaceAddress{Prefix: p})
		}
		if got := siblings(prefixes(tc.ours...), list); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// The machine's own address goes and takes ours along: they are back, and it
// was said beforehand that this can happen.
func TestSiblingsThatVanishComeBack(t *testing.T) {
	pair(t, "vs0", "vs1")
	set := func(v string) {
		for _, name := range []string{"all", "vs0"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/promote_secondaries", []byte(v), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("0")
	own := &netlink.Addr{IPNet: ipNetOf(netip.MustParsePrefix("192.0.2.1/24")), LinkIndex: linkIndex(t, "vs0")}
	if err := netlink.AddrAdd(nil, own); err != nil {
		t.Fatal(err)
	}
	m := running(t)
	r := &reports{}
	vips := []string{"192.0.2.90/24", "192.0.2.91/24", "198.51.100.90/32"}
	h := m.NewHolder(Config{Interface: "vs0", Lifetime: 3 * time.Second, Addresses: []Address{addr(vips[0]), addr(vips[1]), addr(vips[2])}}, logTo(t), r.add)
	start(t, h)
	fragile := func(want ...bool) func() bool {
		return func() bool {
			for i, s := range h.Status() {
				if s.Fragile != want[i] {
					return false
				}
			}
			return true
		}
	}
	eventually(t, 5*time.Second, "the danger is seen before the addresses are held", fragile(true, true, false))
	h.Hold()
	eventually(t, 5*time.Second, "held", func() bool { return r.last().Phase == Held })
	if a, _ := listed(t, "vs0", vips[0]); !a.Secondary {
		t.Fatal("the address is not a secondary one, so nothing takes it along")
	}
	if err := netlink.AddrDel(nil, own); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "both are restored", func() bool {
		return present(t, "vs0", vips[0]) && present(t, "vs0", vips[1]) && r.any(func(x Report) bool { return len(x.Restored) == 2 })
	})
	if r.any(func(x Report) bool { return x.Phase == Waiting }) {
		t.Error("it was told as a failure")
	}
	set("1")
	eventually(t, 5*time.Second, "no danger any more, as seen at a renewal", fragile(false, false, false))
}
