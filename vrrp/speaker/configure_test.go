package speaker

import (
	"net/netip"
	"strings"
	"testing"

	"lvs-ha/vrrp"
)

func TestCheckFindsAll(t *testing.T) {
	bad := func(f func(*vrrp.Instance)) error {
		in := testSpec(100)
		f(&in)
		return check([]vrrp.Instance{in})
	}
	for want, err := range map[string]error{
		"vrid 0":            bad(func(in *vrrp.Instance) { in.Config.VRID = 0 }),
		"priority 0":        bad(func(in *vrrp.Instance) { in.Config.Priority = 0 }),
		"version 4":         bad(func(in *vrrp.Instance) { in.Config.Version = 4 }),
		"family 5":          bad(func(in *vrrp.Instance) { in.Config.Family = 5 }),
		"version 2 with":    bad(func(in *vrrp.Instance) { in.Config.Version, in.Config.Family = 2, 6 }),
		"interval 0s":       bad(func(in *vrrp.Instance) { in.Config.Interval = 0 }),
		"0 addresses":       bad(func(in *vrrp.Instance) { in.Config.Addresses = nil }),
		"no peers":          bad(func(in *vrrp.Instance) { in.Config.Mode = vrrp.Unicast }),
		"not of its family": bad(func(in *vrrp.Instance) { in.Config.Addresses = []netip.Addr{netip.IPv6Loopback()} }),
		"no interface":      bad(func(in *vrrp.Instance) { in.Interface = "" }),
		"appears twice":     check([]vrrp.Instance{testSpec(1), testSpec(2)}),
		"that is none":      bad(func(in *vrrp.Instance) { in.Excluded = []vrrp.Address{{}} }),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "edge") && want != "no interface" {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	six := testSpec(100)
	six.Name, six.Config.Family, six.Config.Addresses = "six", vrrp.IPv6, []netip.Addr{netip.MustParseAddr("fe80::1")}
	if err := check([]vrrp.Instance{testSpec(100), six}); err != nil {
		t.Errorf("IPv4 and IPv6 with one VRID: %v", err)
	}
}
