package realserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func addrs(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func lines(steps []Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, s.String())
	}
	return out
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name string
		spec Spec
		want []string
	}{
		{"direct routing", Spec{Mode: DR, VIPs: addrs("10.0.0.100", "10.0.0.101", "10.0.0.100")}, []string{
			"sysctl net.ipv4.conf.all.arp_ignore = 1",
			"sysctl net.ipv4.conf.all.arp_announce = 2",
			"sysctl net.ipv4.conf.lo.arp_ignore = 1",
			"sysctl net.ipv4.conf.lo.arp_announce = 2",
			"link lo up",
			"address 10.0.0.100/32 on lo",
			"address 10.0.0.101/32 on lo",
		}},
		{"direct routing on a dummy device", Spec{Mode: DR, VIPs: addrs("10.0.0.100"), Device: "dummy0"}, []string{
			"sysctl net.ipv4.conf.all.arp_ignore = 1",
			"sysctl net.ipv4.conf.all.arp_announce = 2",
			"link dummy0 of type dummy",
			"sysctl net.ipv4.conf.dummy0.arp_ignore = 1",
			"sysctl net.ipv4.conf.dummy0.arp_announce = 2",
			"link dummy0 up",
			"address 10.0.0.100/32 on dummy0",
		}},
		{"tunnel", Spec{Mode: Tunnel, VIPs: addrs("10.0.0.100")}, []string{
			"sysctl net.ipv4.conf.all.arp_ignore = 1",
			"sysctl net.ipv4.conf.all.arp_announce = 2",
			"link tunl0 of type ipip",
			"sysctl net.ipv4.conf.tunl0.arp_ignore = 1",
			"sysctl net.ipv4.conf.tunl0.arp_announce = 2",
			"sysctl net.ipv4.conf.tunl0.rp_filter = 2",
			"link tunl0 up",
			"address 10.0.0.100/32 on tunl0",
		}},
		{"both families", Spec{Mode: DR, VIPs: addrs("2001:db8::100", "10.0.0.100")}, []string{
			"sysctl net.ipv4.conf.all.arp_ignore = 1",
			"sysctl net.ipv4.conf.all.arp_announce = 2",
			"sysctl net.ipv4.conf.lo.arp_ignore = 1",
			"sysctl net.ipv4.conf.lo.arp_announce = 2",
			"link lo up",
			"address 10.0.0.100/32 on lo",
			"link lvsha-vip of type dummy",
			"sysctl net.ipv6.conf.lvsha-vip.disable_ipv6 = 0",
			"sysctl net.ipv6.conf.lvsha-vip.accept_dad = 0",
			"link lvsha-vip up",
			"address 2001:db8::100/128 on lvsha-vip",
		}},
		{"a device with a dot", Spec{Mode: DR, VIPs: addrs("10.0.0.100"), Device: "d.1"}, []string{
			"sysctl net.ipv4.conf.all.arp_ignore = 1",
			"sysctl net.ipv4.conf.all.arp_announce = 2",
			"link d.1 of type dummy",
			"sysctl net/ipv4/conf/d.1/arp_ignore = 1",
			"sysctl net/ipv4/conf/d.1/arp_announce = 2",
			"link d.1 up",
			"address 10.0.0.100/32 on d.1",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps, err := Plan(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, lines(steps)); d != "" {
				t.Error(d)
			}
			// Whatever else changes: settings before addresses.
			first := slices.IndexFunc(steps, func(s Step) bool { return s.Kind == Address && s.Prefix.Addr().Is4() })
			for i, s := range steps {
				if s.Kind == Sysctl && strings.Contains(s.Key, "/arp_") && first >= 0 && i > first {
					t.Errorf("%s comes after the address", s)
				}
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{Mode: DR}, "no virtual address"},
		{Spec{Mode: "nat", VIPs: addrs("10.0.0.1")}, "only its default route"},
		{Spec{Mode: Tunnel, VIPs: addrs("2001:db8::1")}, "IPv4 only"},
		{Spec{Mode: DR, VIPs: addrs("0.0.0.0")}, "cannot be a virtual address"},
		{Spec{Mode: DR, VIPs: addrs("224.0.0.18")}, "cannot be a virtual address"},
		{Spec{Mode: DR, VIPs: addrs("::ffff:10.0.0.1")}, "write it as an IPv4 address"},
		{Spec{Mode: DR, VIPs: []netip.Addr{{}}}, "cannot be a virtual address"},
	} {
		if _, err := Plan(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want one with %q", tt.spec, err, tt.want)
		}
		if _, err := RemovePlan(tt.spec, false); err == nil {
			t.Errorf("%+v: RemovePlan accepts it", tt.spec)
		}
	}
}

func TestRemovePlan(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec Spec
		keep bool
		want []string
	}{
		{"direct routing", Spec{Mode: DR, VIPs: addrs("10.0.0.100")}, false, []string{
			"no address 10.0.0.100/32 on lo",
			"sysctl net.ipv4.conf.lo.arp_announce = 0",
			"sysctl net.ipv4.conf.lo.arp_ignore = 0",
			"sysctl net.ipv4.conf.all.arp_announce = 0",
			"sysctl net.ipv4.conf.all.arp_ignore = 0",
		}},
		{"other addresses stay", Spec{Mode: DR, VIPs: addrs("10.0.0.100")}, true, []string{
			"no address 10.0.0.100/32 on lo",
		}},
		{"tunnel", Spec{Mode: Tunnel, VIPs: addrs("10.0.0.100")}, false, []string{
			"no address 10.0.0.100/32 on tunl0",
			"link tunl0 down",
			"sysctl net.ipv4.conf.tunl0.arp_announce = 0",
			"sysctl net.ipv4.conf.tunl0.arp_ignore = 0",
			"sysctl net.ipv4.conf.all.arp_announce = 0",
			"sysctl net.ipv4.conf.all.arp_ignore = 0",
		}},
		{"dummy", Spec{Mode: DR, VIPs: addrs("2001:db8::1")}, false, []string{
			"no address 2001:db8::1/128 on lvsha-vip",
			"link lvsha-vip down",
			"no link lvsha-vip",
		}},
	} {
		steps, err := RemovePlan(tt.spec, tt.keep)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, lines(steps)); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}
