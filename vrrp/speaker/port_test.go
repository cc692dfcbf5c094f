package speaker

import (
	"net/netip"
	"strings"
	"testing"

	"lvs-ha/vrrp"
)

func TestSource(t *testing.T) {
	v4 := func(list ...string) *Interface {
		in := &Interface{}
		for _, s := range list {
			a := InterfaceAddress{}
			a.Secondary = strings.HasSuffix(s, " secondary")
			a.Tentative = strings.HasSuffix(s, " tentative")
			a.Prefix = netip.MustParsePrefix(strings.Fields(s)[0])
			in.Addresses = append(in.Addresses, a)
		}
		return in
	}
	virtual := func(a netip.Addr) bool { return a.String() == "10.0.0.100" || a.String() == "fe80::100" }
	uni := func(p string) vrrp.Config {
		c := vrrp.Config{Family: vrrp.IPv4, Mode: vrrp.Unicast, Peers: []netip.Addr{netip.MustParseAddr(p)}}
		if c.Peers[0].Is6() {
			c.Family = vrrp.IPv6
		}
		return c
	}
	m4, m6 := vrrp.Config{Family: vrrp.IPv4}, vrrp.Config{Family: vrrp.IPv6}
	for _, tc := range []struct {
		in   *Interface
		c    vrrp.Config
		want string
	}{
		{v4(), m4, "invalid IP"},
		{v4("10.0.0.100/32", "10.0.0.5/24", "10.0.1.5/24"), m4, "10.0.0.5"},
		{v4("10.0.0.6/24 secondary", "10.0.0.5/24"), m4, "10.0.0.5"},
		{v4("10.0.0.6/24 secondary"), m4, "10.0.0.6"},
		{v4("10.0.0.100/24"), m4, "invalid IP"},
		{v4("10.0.0.5/24", "fe80::100/64", "fe80::5/64", "2001:db8::5/64"), m6, "fe80::5"},
		{v4("fe80::5/64 tentative"), m6, "invalid IP"},
		{v4("2001:db8::5/64"), m6, "invalid IP"},
		{v4("10.0.0.5/24", "10.9.0.5/24"), uni("10.9.0.7"), "10.9.0.5"},
		{v4("10.0.0.5/24"), uni("192.0.2.7"), "10.0.0.5"},
		{v4("fe80::5/64", "2001:db8::5/64"), uni("2001:db8::7"), "2001:db8::5"},
		{v4("fe80::5/64", "2001:db8::5/64"), uni("fe80::7"), "fe80::5"},
	} {
		if got := source(tc.in, &vrrp.Instance{Config: tc.c}, virtual).String(); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.in.Addresses, got, tc.want)
		}
	}
	ip := netip.MustParseAddr
	for _, tc := range []struct {
		in   *Interface
		spec vrrp.Instance
		want string
	}{
		{v4("10.0.0.5/24", "10.0.0.6/24 secondary"), vrrp.Instance{Config: uni("10.0.0.7"), Source: ip("10.0.0.6")}, "10.0.0.6"},
		{v4("10.0.0.5/24"), vrrp.Instance{Config: uni("10.0.0.7"), Source: ip("10.0.0.6")}, "invalid IP"},
		{v4("10.0.0.5/24", "10.0.0.100/24"), vrrp.Instance{Config: m4, Source: ip("10.0.0.100")}, "10.0.0.100"}, // of an owner
		{v4("fe80::5/64", "fe80::6/64 tentative"), vrrp.Instance{Config: m6, Source: ip("fe80::6")}, "invalid IP"},
		{v4("10.0.0.5/24", "10.0.0.6/24 secondary"), vrrp.Instance{Config: uni("10.0.0.7"), Prefer: ip("10.0.0.6")}, "10.0.0.6"},
		{v4("10.0.0.6/24 secondary", "10.0.0.5/24"), vrrp.Instance{Config: uni("10.0.0.7"), Prefer: ip("10.0.0.6")}, "10.0.0.6"},
		{v4("10.0.0.5/24"), vrrp.Instance{Config: uni("10.0.0.7"), Prefer: ip("10.0.0.6")}, "10.0.0.5"},
	} {
		if got := source(tc.in, &tc.spec, virtual).String(); got != tc.want {
			t.Errorf("%v, source %v, preferred %v: %s, want %s", tc.in.Addresses, tc.spec.Source, tc.spec.Prefer, got, tc.want)
		}
	}
}

func TestKeeperCellHoldsTheLatest(t *testing.T) {
	k := &keeper{latest: make(chan Interface, 1)}
	for i := range 100 {
		k.watched(Interface{Index: i})
	}
	if in := <-k.latest; in.Index != 99 {
		t.Errorf("index %d", in.Index)
	}
}
