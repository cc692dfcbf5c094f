package conf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"net/netip"

	"lvs-ha/ipvsctl"
)

func loadText(t *testing.T, text string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lvs-ha.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, ps := Load(path, "")
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

const rangeText = `
[[service]]
name = "rtp"
address = "2001:db8::1"
ports = "6000, 5000-5010"
protocol = "udp"
forward = "nat"
snat = true
servers = [{ name = "a", address = "2001:db8::21" }]
`

func TestPorts(t *testing.T) {
	s := loadText(t, "version = 1\n"+rangeText).Services[0]
	mark := s.Service.Key.FWMark
	if mark < FirstPortsMark || mark > LastPortsMark {
		t.Errorf("mark %#x", mark)
	}
	if d := cmp.Diff(ipvsctl.ServiceKey{FWMark: mark, Family: 6}, s.Service.Key, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
	if s.Ports.String() != "5000-5010, 6000" || !s.SNAT || s.Servers[0].Kernel.Key.Port != 0 {
		t.Errorf("%+v %v", s.Ports, s.Servers[0])
	}
	if v := s.Virtual(); v.Addr != netip.MustParseAddr("2001:db8::1") || v.Protocol != ipvsctl.UDP || v.FWMark != 0 {
		t.Error(v)
	}
	// The mark does not depend on what stands around it, but on the ports.
	other := "\n[[service]]\nname = \"b\"\naddress = \"192.0.2.1\"\nports = \"1-2\"\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n"
	c := loadText(t, "version = 1\n"+other+rangeText)
	if c.Services[1].Service.Key.FWMark != mark {
		t.Error("the mark changes with a service before it")
	}
	if c.Services[0].Service.Key.FWMark == mark {
		t.Error("the same mark twice")
	}
}

// TestPortsMarkTaken: where the hashes of two services meet, the later one moves on.
func TestPortsMarkTaken(t *testing.T) {
	p := &Ports{Protocol: ipvsctl.TCP, Addr: netip.MustParseAddr("192.0.2.1"), Ranges: []PortRange{{1, 2}}}
	b := &builder{out: &Config{}}
	for range 3 {
		mark := b.portsMark(p)
		for _, s := range b.out.Services {
			if s.Service.Key.FWMark == mark {
				t.Fatal("taken")
			}
		}
		s := Service{Ports: p}
		s.Service.Key.FWMark = mark
		b.out.Services = append(b.out.Services, s)
	}
}

// TestPortsBelongToInstance: the address of ranges is looked for, not the mark's.
func TestPortsBelongToInstance(t *testing.T) {
	c := loadText(t, "version = 1\n[vrrp.a]\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"2001:db8::1\"]\n"+rangeText)
	if got := c.Services[0].VRRP; got != "a" {
		t.Errorf("belongs to %q", got)
	}
}
