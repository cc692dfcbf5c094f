package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// Ports of the services of TestPools. What they check is port 80, so that a
// server can fail and be seen to get traffic, or not.
const (
	portSorry = 9001 + iota
	portQuorum
	portFloor
	portSlow
	portWithdraw
	portPoolsEnd
)

// pools is a file with services that differ in what they do when servers fail.
func pools(s *scene) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	const check = "type = \"tcp\"\nport = 80\n"
	p("[pool.trio]\nservers = [")
	for i, a := range s.set.Servers {
		p("  { name = \"web%d\", address = %q },", i+1, a)
	}
	p("]\n[[pool.trio.check]]\n" + check)
	service := func(name string, port int, more string) {
		p("[[service]]\nname = %q\naddress = %q\nport = %d\n%s", name, lab.VIP, port, more)
	}
	sorry := fmt.Sprintf("pool = \"trio\"\nsorry = { address = %q }\n", s.Servers[3].Addr)
	service("sorry", portSorry, sorry)
	service("quorum", portQuorum, sorry+"quorum = 2\nquorum_hysteresis = 1")
	service("floor", portFloor, "pool = \"trio\"\nmin_healthy = \"60%\"")
	service("slow", portSlow, fmt.Sprintf("slow_start = \"10s\"\nservers = [{ name = \"web1\", address = %q, weight = 20 }, { name = \"web2\", address = %q, weight = 20 }]\n[[service.check]]\n%s", s.set.Servers[0], s.set.Servers[1], check))
	service("withdraw", portWithdraw, "pool = \"trio\"\non_quorum_loss = \"withdraw\"")
	return b.String()
}

// pool are the weights of web1 to web4 in a service, "-" for one that is not there.
func (s *scene) pool(d *lab.Director, port int) (string, error) {
	table, err := d.Host().Table()
	if err != nil {
		return "", err
	}
	out := []string{"-", "-", "-", "-"}
	for _, svc := range table {
		if svc.Addr != vipPort(port) {
			continue
		}
		for _, r := range svc.Servers {
			out[r.Addr.Addr().As4()[3]-21] = fmt.Sprint(r.Weight)
		}
	}
	return strings.Join(out, " "), nil
}

// pools waits until these services are so on the directors.
func (s *scene) pools(when string, want map[int]string, on ...*lab.Director) {
	s.Helper()
	for port, w := range want {
		for _, d := range on {
			s.slowly(15*time.Second, fmt.Sprintf("%s: service %d of %s is %s", when, port, d.Host().Name, w), func() error {
				got, err := s.pool(d, port)
				if err == nil && got != w {
					err = errorf("it is %s", got)
				}
				return err
			})
		}
	}
}

// TestPools: servers fail one after the other and come back, and each service
// does what its file says, on both directors; then one director alone loses
// sight of them.
func TestPools(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 4})
	var ports []string
	for port := portSorry; port < portPoolsEnd; port++ {
		ports = append(ports, fmt.Sprintf("0.0.0.0:%d", port))
	}
	for _, srv := range s.Servers {
		s.serveAlso(srv, ports, []string{"127.0.0.1:9"})
	}
	s.set.Servers = s.set.Servers[:3]
	s.set.Priorities = [2]int{150, 100}
	s.set.Extra = pools(s)
	s.start()
	both := []*lab.Director{s.lvs1, s.lvs2}
	asks := func(port int, want ...string) {
		t.Helper()
		got := s.times(6, source, func(int) netip.AddrPort { return vipPort(port) })
		if len(got.counts()) != len(want) {
			t.Errorf("service %d: %s, want %v", port, got, want)
		}
		for _, name := range want {
			if got.counts()[name] == 0 {
				t.Errorf("service %d: %s, want %v", port, got, want)
			}
		}
	}
	s.pools("at first", map[int]string{portSorry: "1 1 1 -", portQuorum: "1 1 1 -", portFloor: "1 1 1 -", portSlow: "20 20 - -"}, both...)
	asks(portSorry, "web1", "web2", "web3")

	s.must(s.Servers[0].Kill(s.ctx))
	s.pools("web1 is down", map[int]string{portSorry: "0 1 1 -", portQuorum: "0 1 1 -", portFloor: "0 1 1 -", portSlow: "0 20 - -"}, both...)
	s.must(s.Servers[1].Kill(s.ctx))
	s.pools("web2 is down", map[int]string{portSorry: "0 0 1 -", portQuorum: "0 0 1 -", portFloor: "0 1 1 -", portSlow: "0 0 - -"}, both...)
	asks(portFloor, "web2", "web3")
	s.must(s.Servers[2].Kill(s.ctx))
	s.pools("all are down", map[int]string{portSorry: "0 0 0 1", portQuorum: "0 0 0 1", portFloor: "0 1 1 -"}, both...)
	asks(portSorry, "web4")
	asks(portFloor, "web2", "web3")
	// Both have lost the same: the order stays.
	s.vip(s.lvs1, true, time.Second)

	s.must(s.Servers[2].Start(s.ctx))
	s.pools("web3 is back", map[int]string{portSorry: "0 0 1 0", portQuorum: "0 0 0 1"}, both...)
	asks(portSorry, "web3")
	asks(portQuorum, "web4")
	s.must(s.Servers[1].Start(s.ctx))
	s.pools("web2 is back", map[int]string{portSorry: "0 1 1 0"}, both...)
	back := time.Now()
	s.must(s.Servers[0].Start(s.ctx))
	// In steps to the whole weight.
	seen := map[string]bool{}
	s.within(20*time.Second, "the slow start is over", func() error {
		got, err := s.pool(s.lvs1, portSlow)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(got, " ")
		if seen[first] = true; first != "20" {
			return errorf("%s", got)
		}
		return nil
	})
	if took := time.Since(back); took < 9*time.Second || len(seen) < 12 {
		t.Errorf("slow start took %s in %d steps", took, len(seen))
	}
	s.pools("all are back", map[int]string{portSorry: "1 1 1 0", portQuorum: "1 1 1 0", portFloor: "1 1 1 -", portSlow: "20 20 - -"}, both...)
	asks(portQuorum, "web1", "web2", "web3")

	// lvs1 alone hears nothing from the servers: what serves moves to lvs2, and
	// lvs1 keeps by its floor what it cannot see.
	for _, srv := range s.Servers[:3] {
		s.sh(srv.Host, "nft add table ip deaf; nft 'add chain ip deaf in { type filter hook input priority 0; }'; nft add rule ip deaf in ip saddr 10.0.0.1 tcp dport 80 drop")
	}
	s.vip(s.lvs2, true, 10*time.Second)
	s.vip(s.lvs1, false, 5*time.Second)
	s.metric(s.lvs1, 3*time.Second, is(90), "lvs_ha_vrrp_priority")
	s.slowly(5*time.Second, "the floor holds on lvs1", func() error {
		got, err := s.pool(s.lvs1, portFloor)
		if err == nil && strings.Count(got, "1") != 2 {
			err = errorf("%s", got)
		}
		return err
	})
	s.pools("lvs2 sees all", map[int]string{portWithdraw: "1 1 1 -", portFloor: "1 1 1 -"}, s.lvs2)
	asks(portWithdraw, "web1", "web2", "web3")
	for _, srv := range s.Servers[:3] {
		s.sh(srv.Host, "nft delete table ip deaf")
	}
	s.vip(s.lvs1, true, 15*time.Second)
	s.pools("lvs1 sees all", map[int]string{portWithdraw: "1 1 1 -", portFloor: "1 1 1 -"}, both...)
	asks(portWithdraw, "web1", "web2", "web3")
}
