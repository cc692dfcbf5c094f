package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

const sixPort = 7100

var sixVIP = netip.MustParseAddr("2001:db8:c::100")

// straggling is a pair with a service over IPv4 and one over IPv6, each with
// rr: without an entry no director can guess the server.
func straggling(t *testing.T, more string) *scene {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	const on = "for f in all default eth0; do echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done; "
	s.sh(s.Client, on+"ip addr add 2001:db8:c::10/64 dev eth0 nodad")
	for i, d := range s.Directors {
		s.sh(d, on+fmt.Sprintf("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; ip addr add 2001:db8:c::%d/64 dev eth0 nodad", i+1))
	}
	var servers []string
	for i, srv := range s.Servers {
		s.sh(srv.Host, on+fmt.Sprintf("ip addr add 2001:db8:c::%d/64 dev eth0 nodad; ip addr add %s/128 dev lo nodad", 21+i, sixVIP))
		s.serveAlso(srv, []string{fmt.Sprintf("[::]:%d", sixPort)}, nil)
		servers = append(servers, fmt.Sprintf("{ name = \"%d\", address = \"2001:db8:c::%d\" }", i+1, 21+i))
	}
	s.set.Advert = 20 * time.Millisecond
	s.pair()
	text := strings.Replace(s.set.TOML(), "[ipvs]\n", "[ipvs]\n"+more, 1) + fmt.Sprintf(`
[nodes.lvs1.vrrp.six]
priority = 200
[vrrp.six]
interface = "eth0"
vrid = 52
advert_interval = "20ms"
addresses = ["%s"]
[[service]]
name = "six"
address = "%s"
port = %d
checks = []
servers = [%s]
`, sixVIP, sixVIP, sixPort, strings.Join(servers, ", "))
	s.must(os.WriteFile(s.lvs1.File, []byte(text), 0o644))
	s.must(s.lvs1.Start())
	s.must(s.lvs2.Start())
	s.serving(s.lvs1)
	s.weights(s.lvs2, s.up())
	s.vip(s.lvs2, false, 5*time.Second)
	s.holdsSix(s.lvs1, true)
	return s
}

func (s *scene) holdsSix(d *lab.Director, want bool) {
	s.Helper()
	s.slowly(10*time.Second, fmt.Sprintf("%s holds %s: %v", d.Host().Name, sixVIP, want), func() error {
		out := s.sh(d.Host(), "ip -6 addr show dev eth0")
		if strings.Contains(out, sixVIP.String()+"/") != want {
			return errorf("%s", out)
		}
		return nil
	})
}

// strayTables are what directors have for stragglers.
func (s *scene) strayTables(d *lab.Director) string {
	s.Helper()
	return s.sh(d.Host(), "nft list tables | grep stragglers || true; ip rule | grep 19543 || true; ip -6 rule | grep 19543 || true; ip route show table 19543 2>/dev/null || true")
}

// interrupted opens connections whose handshake stops before its third packet.
func (s *scene) interrupted(n int) (conns []net.Conn) {
	s.Helper()
	s.sh(s.Client, fmt.Sprintf("nft 'add table inet cut; add chain inet cut out { type filter hook output priority 0; }; "+
		"add rule inet cut out tcp dport { %d, %d } tcp flags & syn == 0 drop'", lab.TCPPort, sixPort))
	for i := range n {
		from, to := source(i), netip.AddrPortFrom(lab.VIP, lab.TCPPort)
		if i%2 == 1 {
			from, to = netip.MustParseAddr("2001:db8:c::10"), netip.AddrPortFrom(sixVIP, sixPort)
		}
		c, err := s.connect(from, to)
		s.must(err)
		s.Cleanup(func() { c.Close() })
		s.must(c.SetDeadline(time.Now().Add(15 * time.Second)))
		_, err = io.WriteString(c, "hello\n")
		s.must(err)
		conns = append(conns, c)
	}
	return conns
}

// resumed lets the handshakes go on, and tells how many connections get their answer.
func (s *scene) resumed(conns []net.Conn) (ok int, lost error) {
	s.Helper()
	s.sh(s.Client, "nft delete table inet cut")
	for _, c := range conns {
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && strings.HasSuffix(line, " hello\n") {
			ok++
		} else {
			lost = fmt.Errorf("%s from %s to %s: %q %w", "request", c.LocalAddr(), c.RemoteAddr(), line, err)
		}
	}
	return ok, lost
}

// TestStragglersGoBack: connections that are in the middle of their handshake
// when mastership moves, whichever way, are served; without the setting all are
// lost. What is left behind is nothing.
func TestStragglersGoBack(t *testing.T) {
	const n = 12
	s := straggling(t, "")
	ready := func(d *lab.Director) {
		s.Helper()
		s.slowly(10*time.Second, "the backup is ready for stragglers", func() error {
			if got := s.strayTables(d); !strings.Contains(got, "table ip lvs_ha_stragglers") || !strings.Contains(got, "table ip6 lvs_ha_stragglers") || strings.Contains(got, "19543") {
				return errorf("%s", got)
			}
			return nil
		})
	}
	none := func(d *lab.Director) {
		s.Helper()
		s.slowly(10*time.Second, d.Host().Name+" has nothing for stragglers", func() error {
			if got := s.strayTables(d); strings.Contains(got, "stragglers") || strings.Contains(got, "19543") {
				return errorf("%s", got)
			}
			return nil
		})
	}
	ready(s.lvs2)
	conns := s.interrupted(n)
	s.must(s.lvs1.Process().Signal(syscall.SIGTERM))
	s.vip(s.lvs2, true, 5*time.Second)
	s.vip(s.lvs1, false, 5*time.Second)
	s.holdsSix(s.lvs2, true)
	s.holdsSix(s.lvs1, false)
	if ok, err := s.resumed(conns); ok != n {
		t.Errorf("stopped: %d of %d served: %v", ok, n, err)
	}
	s.slowly(10*time.Second, "lvs1 ends", func() error {
		if !s.lvs1.Process().Ended() {
			return errorf("it runs")
		}
		return nil
	})
	none(s.lvs1)
	none(s.lvs2)
	if !strings.Contains(s.lvs2.Process().Log(), `"event":"stragglers"`) {
		t.Error("lvs2 does not tell of stragglers")
	}

	// The preferred director returns; lvs2 yields, and knows them.
	conns = s.interrupted(n)
	s.must(s.lvs1.Start())
	s.vip(s.lvs1, true, 15*time.Second)
	s.holdsSix(s.lvs1, true)
	s.vip(s.lvs2, false, 5*time.Second)
	s.holdsSix(s.lvs2, false)
	if ok, err := s.resumed(conns); ok != n {
		t.Errorf("returned: %d of %d served: %v", ok, n, err)
	}
	none(s.lvs1)
	ready(s.lvs2)
}

// TestStragglersAreLostWithout: what TestStragglersGoBack relies on.
func TestStragglersAreLostWithout(t *testing.T) {
	if os.Getenv("LVSHA_LONG") == "" {
		t.Skip("costly: runs with LVSHA_LONG set (make test-long)")
	}
	const n = 6
	s := straggling(t, "stragglers = false\n")
	conns := s.interrupted(n)
	s.must(s.lvs1.Process().Signal(syscall.SIGTERM))
	s.vip(s.lvs2, true, 5*time.Second)
	s.vip(s.lvs1, false, 5*time.Second)
	s.holdsSix(s.lvs2, true)
	s.holdsSix(s.lvs1, false)
	if ok, err := s.resumed(conns); ok != 0 {
		t.Errorf("%d of %d served: %v", ok, n, err)
	}
	if got := s.strayTables(s.lvs2); strings.Contains(got, "stragglers") {
		t.Error(got)
	}
}

// TestNoRequestFailsAtHandOver: under a dense load with rr and without
// sloppy_tcp not one request fails, whether the master stops or the preferred
// one returns.
func TestNoRequestFailsAtHandOver(t *testing.T) {
	if os.Getenv("LVSHA_LONG") == "" {
		t.Skip("costly: runs with LVSHA_LONG set (make test-long)")
	}
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.set.Advert = 10 * time.Millisecond
	s.pair()
	s.must(s.lvs1.Start())
	s.must(s.lvs2.Start())
	s.serving(s.lvs1)
	s.weights(s.lvs2, s.up())
	s.vip(s.lvs2, false, 5*time.Second)
	ld := s.load(lab.LoadOptions{Every: time.Millisecond})
	rounds := 5
	if os.Getenv("LVSHA_LONG") == "slice" {
		rounds = 2
	}
	for i := range rounds {
		began := time.Now()
		s.must(s.lvs1.Process().Signal(syscall.SIGTERM))
		s.vip(s.lvs2, true, 5*time.Second)
		s.vip(s.lvs1, false, 5*time.Second)
		if sum := s.decided(ld, began); sum.Failed > 0 || sum.OK < 10 { // a hand-over takes some 30 ms
			t.Errorf("stop %d: %s", i+1, sum)
		}
		s.slowly(10*time.Second, "lvs1 ends", func() error {
			if !s.lvs1.Process().Ended() {
				return errorf("it runs")
			}
			return nil
		})
		began = time.Now()
		s.must(s.lvs1.Start())
		s.vip(s.lvs1, true, 15*time.Second)
		s.vip(s.lvs2, false, 5*time.Second)
		if sum := s.decided(ld, began); sum.Failed > 0 || sum.OK < 10 { // a hand-over takes some 30 ms
			t.Errorf("return %d: %s", i+1, sum)
		}
	}
}
