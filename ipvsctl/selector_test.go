package ipvsctl_test

import (
	"fmt"
	"net/netip"
	"testing"

	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

func TestSelector(t *testing.T) {
	var all []ipvsctl.ServiceKey
	for _, s := range ipvsctltest.Services() {
		all = append(all, s.Key)
	}
	for text, want := range map[string]int{
		"": len(all), " ": len(all),
		"192.0.2.1": 3, "192.0.2.1:80": 3, "tcp 192.0.2.1:80": 1, "tcp/192.0.2.1:80": 1, "udp 192.0.2.1": 1, "::ffff:192.0.2.1": 3,
		"192.0.2.1:81": 0, "2001:db8::1": 2, "[2001:db8::1]": 2, "[2001:db8::1]:53": 1, "udp [2001:db8::1]:53": 1, "192.0.2.2:0": 1,
		"fwmark 1": 2, "fwmark 1 ipv6": 1, "fwmark/1/ipv4": 1, "fwmark 4294967295": 1, "fwmark 2": 0,
	} {
		s, err := ipvsctl.ParseSelector(text)
		n := 0
		for _, k := range all {
			if s.Service(k) {
				n++
			}
		}
		if err != nil || n != want {
			t.Errorf("%q chooses %d services (%v), want %d", text, n, err, want)
		}
	}
	for _, bad := range []string{"web", "tcp", "icmp 192.0.2.1", "tcp udp 192.0.2.1", "192.0.2.1:80000", "fwmark", "fwmark 0", "fwmark 7 8", "fwmark x", "fe80::1%eth0", "[fe80::1%eth0]:80"} {
		if s, err := ipvsctl.ParseSelector(bad); err == nil || s != (ipvsctl.Selector{}) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
	for _, k := range all {
		s, err := ipvsctl.ParseSelector(k.String())
		if err != nil {
			t.Errorf("%v: %v", k, err)
		}
		for _, o := range all {
			// In the text of a key, IPv4 goes without saying.
			if got, want := s.Service(o), o == k; got != want && !(k.FWMark != 0 && o.FWMark == k.FWMark && k.Family == 4) {
				t.Errorf("%v chooses %v: %v", k, o, got)
			}
			if got, want := ipvsctl.SelectorOf(k).Service(o), o == k; got != want {
				t.Errorf("the selector of %v chooses %v: %v", k, o, got)
			}
		}
	}
}

func TestSelectorOfConns(t *testing.T) {
	conn := func(proto, virtual string) ipvsctl.Conn {
		return ipvsctl.Conn{Protocol: proto, Client: netip.MustParseAddrPort("203.0.113.7:4711"), Virtual: netip.MustParseAddrPort(virtual)}
	}
	for _, c := range []struct {
		text string
		conn ipvsctl.Conn
		want bool
	}{
		{"", conn("TCP", "192.0.2.1:80"), true},
		{"192.0.2.1", conn("UDP", "192.0.2.1:80"), true},
		{"tcp 192.0.2.1", conn("UDP", "192.0.2.1:80"), false},
		{"tcp 192.0.2.1:80", conn("TCP", "192.0.2.1:80"), true},
		{"tcp 192.0.2.1:80", conn("TCP", "192.0.2.1:81"), false},
		{"tcp 192.0.2.1:80", conn("TCP", "192.0.2.2:80"), false},
		{"tcp 192.0.2.1:0", conn("TCP", "192.0.2.1:81"), true},
		{"fwmark 7", conn("TCP", "0.0.0.7:80"), false},
		{"fwmark 7", conn("IP", "0.0.0.7:0"), true},
		{"fwmark 7", conn("IP", "[0:7::]:0"), true},
		{"fwmark 7 ipv6", conn("IP", "0.0.0.7:0"), false},
		{"fwmark 7 ipv6", conn("IP", "[0:7::]:0"), true},
		{"fwmark 7 ipv4", conn("IP", "0.0.0.7:0"), true},
		{"fwmark 8", conn("IP", "0.0.0.7:0"), false},
		{"0.0.0.7", conn("IP", "0.0.0.7:0"), false},
	} {
		s, err := ipvsctl.ParseSelector(c.text)
		if got := s.Conn(c.conn); err != nil || got != c.want {
			t.Errorf("%q, %+v: %v %v", c.text, c.conn, got, err)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, s := range ipvsctltest.Services() {
		f.Add(s.Key.String())
	}
	f.Add("tcp/192.0.2.1")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ipvsctl.ParseSelector(in)
		if err != nil && s != (ipvsctl.Selector{}) {
			t.Errorf("%q: %+v, %v", in, s, err)
		}
		s.Service(ipvsctl.ServiceKey{})
	})
}

func TestSchedulerFlags(t *testing.T) {
	for _, c := range []struct {
		scheduler string
		flags     ipvsctl.Flags
		want      string
	}{{"wlc", 0, "[]"}, {"sh", ipvsctl.FlagSched1 | ipvsctl.FlagSched3, "[sh-fallback flag-3]"}, {"rr", ipvsctl.FlagSched2 | ipvsctl.FlagOnePacket, "[flag-2]"}} {
		if got := fmt.Sprint(ipvsctl.Service{Scheduler: c.scheduler, Flags: c.flags}.SchedulerFlags()); got != c.want {
			t.Errorf("%s %#x: %s, want %s", c.scheduler, c.flags, got, c.want)
		}
	}
}
