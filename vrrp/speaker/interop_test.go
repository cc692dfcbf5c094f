package speaker_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

// keepalivedConfig is one instance of keepalived that matches group. Its
// interval is at least that of ours and a multiple of 10 ms.
func keepalivedConfig(version int, priority uint8, interval string, more string, addrs ...string) string {
	return fmt.Sprintf(`
global_defs {
  vrrp_garp_master_delay 1
}
vrrp_instance edge {
  state BACKUP
  interface eth0
  version %d
  virtual_router_id 51
  priority %d
  advert_int %s
  %s
  virtual_ipaddress {
    %s
  }
}
`, version, priority, interval, more, strings.Join(addrs, "\n    "))
}

// elect runs the story that both programs must agree on: the better one is
// master, hands over when it stops, takes back when it returns.
func elect(t *testing.T, ours vrrp.Instance, theirs func(priority uint8) string, vip string) {
	const limit = patience
	s := newSegment(t)

	// keepalived is better.
	k := s.keepalived(theirs(200))
	a := s.speaker()
	a.configure(ours)
	eventually(t, limit, "keepalived is master", func() bool {
		return k.has(vip) && a.state() == vrrp.Backup && !a.has(vip) && a.instance().Received > 0
	})
	if st := a.instance(); st.MasterPriority != 200 || st.Received == 0 || len(rejected(st.Dropped)) > 0 || st.AddressMismatch > 0 {
		t.Errorf("we heard %+v", st)
	}
	k.terminate()
	eventually(t, limit, "we are master after keepalived has stopped", func() bool { return a.state() == vrrp.Master && a.has(vip) })

	// It comes back and preempts.
	k = s.keepalived(theirs(200))
	eventually(t, limit, "keepalived has preempted", func() bool { return k.has(vip) && a.state() == vrrp.Backup && !a.has(vip) })
	if strings.Contains(k.log.String(), "rror") || strings.Contains(k.log.String(), "invalid") {
		t.Errorf("keepalived complains:\n%s", k.log)
	}
	k.kill()
	eventually(t, limit, "we are master after keepalived was killed", func() bool { return a.state() == vrrp.Master && a.has(vip) })

	// We are better.
	k = s.keepalived(theirs(50))
	eventually(t, limit, "keepalived is backup", func() bool { return strings.Contains(k.log.String(), "Entering BACKUP STATE") })
	sent := a.instance().Sent
	eventually(t, limit, "we go on", func() bool { return a.instance().Sent > sent+5 })
	if k.has(vip) || a.state() != vrrp.Master {
		t.Fatal("keepalived has taken over from a better master")
	}
	a.terminate()
	if a.has(vip) {
		t.Error("we stopped and kept the address")
	}
	eventually(t, limit, "keepalived is master after we have stopped", func() bool { return k.has(vip) })
}

// rejected leaves out reasons that were not counted.
func rejected(m map[string]uint64) []string {
	var out []string
	for r, n := range m {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s %d", r, n))
		}
	}
	return out
}

func TestKeepalivedV3(t *testing.T) {
	t.Parallel()
	elect(t, group(100), func(p uint8) string { return keepalivedConfig(3, p, "0.1", "", theVIP+"/32") }, theVIP)
}

func TestKeepalivedV3IPv6(t *testing.T) {
	t.Parallel()
	in := group(100, "fe80::77:1", "2001:db8:77::100")
	in.Config.Family = vrrp.IPv6
	elect(t, in, func(p uint8) string {
		return keepalivedConfig(3, p, "0.1", "", "fe80::77:1/128", "2001:db8:77::100/128")
	}, "2001:db8:77::100")
}

func TestKeepalivedUnicast(t *testing.T) {
	t.Parallel()
	in := group(100)
	in.Config.Mode = vrrp.Unicast
	// Three nodes of keepalived follow one another in elect: 10.77.0.1, .3 and .4; we are .2.
	for _, p := range []string{"10.77.0.1", "10.77.0.3", "10.77.0.4"} {
		in.Config.Peers = append(in.Config.Peers, netip.MustParseAddr(p))
	}
	elect(t, in, func(p uint8) string {
		return keepalivedConfig(3, p, "0.1", "unicast_peer {\n 10.77.0.2\n }", theVIP+"/32")
	}, theVIP)
}

func TestKeepalivedUnicastIPv6(t *testing.T) {
	t.Parallel()
	in := group(100, "fe80::77:1", "2001:db8:77::100")
	in.Config.Family, in.Config.Mode = vrrp.IPv6, vrrp.Unicast
	for _, p := range []string{"fe80::aa:1", "fe80::aa:3", "fe80::aa:4"} { // see TestKeepalivedUnicast
		in.Config.Peers = append(in.Config.Peers, netip.MustParseAddr(p))
	}
	elect(t, in, func(p uint8) string {
		return keepalivedConfig(3, p, "0.1", "unicast_peer {\n fe80::aa:2\n }", "fe80::77:1/128", "2001:db8:77::100/128")
	}, "2001:db8:77::100")
}

// Version 2 has whole seconds, so this is the slow one: only who is master, and
// the hand-over to keepalived.
func TestKeepalivedV2Pass(t *testing.T) {
	t.Parallel()
	in := group(100)
	in.Config.Version, in.Config.Interval = vrrp.V2, time.Second
	in.Config.Auth = vrrp.Auth{Type: vrrp.AuthPass}
	copy(in.Config.Auth.Data[:], "geheim")
	s := newSegment(t)
	a := s.speaker()
	a.configure(in)
	k := s.keepalived(keepalivedConfig(2, 50, "1", "authentication {\n auth_type PASS\n auth_pass geheim\n }", theVIP+"/32"))
	eventually(t, 8*time.Second, "we are master", func() bool { return a.state() == vrrp.Master && a.has(theVIP) })
	eventually(t, 5*time.Second, "keepalived listens", func() bool { return strings.Contains(k.log.String(), "Entering BACKUP STATE") })
	sent := a.instance().Sent
	eventually(t, 8*time.Second, "four more", func() bool { return a.instance().Sent >= sent+4 })
	if k.has(theVIP) {
		t.Fatal("keepalived does not hear us")
	}
	a.terminate()
	eventually(t, 5*time.Second, "keepalived is master", func() bool { return k.has(theVIP) })
	for _, bad := range []string{"mismatch", "nvalid", "incorrect"} {
		if strings.Contains(k.log.String(), bad) {
			t.Errorf("keepalived complains:\n%s", k.log)
			break
		}
	}
}
