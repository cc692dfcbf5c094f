package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// text is what a program prints on a director; its status does not matter.
func (s *scene) text(h *lab.Host, argv ...string) string {
	s.Helper()
	out, stderr, _, err := h.Run(s.ctx, argv...)
	s.must(err)
	return out + stderr
}

// rewrite changes the file of both directors and reloads them.
func (s *scene) rewrite(change func(string) string) {
	s.Helper()
	s.must(os.WriteFile(s.lvs1.File, []byte(change(s.set.TOML())), 0o644))
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		if d.Process() != nil {
			s.must(d.Reload())
		}
	}
}

// table waits until the nftables table is there, or not, and returns it.
func (s *scene) table(h *lab.Host, want bool) (text string) {
	s.Helper()
	s.slowly(10*time.Second, fmt.Sprintf("%s has an nftables table: %v", h.Name, want), func() error {
		text = s.text(h, "nft", "list", "table", "inet", "lvs_ha")
		if strings.Contains(text, "masquerade") != want {
			return errors.New(text)
		}
		return nil
	})
	return text
}

// TestFullNAT: servers that have no route back through the director answer
// clients end to end, over TCP and UDP, by address and by ranges of ports.
func TestFullNAT(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	needProgram(t, "conntrack")
	s := open(t, lab.Options{Mode: lab.NAT, Servers: 2})
	for _, srv := range s.Servers {
		_, stderr, code, err := srv.Run(s.ctx, "ip", "route", "del", "default")
		if s.must(err); code != 0 {
			t.Fatal(stderr)
		}
	}
	s.set.UDPCheck = true
	s.start()

	silent := func(what string) {
		t.Helper()
		from := time.Now()
		ld, err := s.StartLoad(lab.LoadOptions{Every: 20 * time.Millisecond})
		s.must(err)
		s.slowly(10*time.Second, "requests have failed", func() error {
			if sum := lab.Summarize(ld.Requests(), from, time.Time{}); sum.Failed < 5 {
				return errors.New(sum.String())
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		reqs, err := ld.Stop(ctx)
		s.must(err)
		if sum := lab.Summarize(reqs, from, time.Time{}); sum.OK > 0 {
			t.Fatalf("%s works, so this test shows nothing: %s", what, sum)
		}
	}
	// Plain NAT cannot work like that: the answers find no way.
	silent("plain NAT without a route back")
	snat := func(text string) string { return strings.Replace(text, "[defaults]\n", "[defaults]\nsnat = true\n", 1) }
	// Masquerading alone does not help while IPVS keeps its packets from conntrack, which status says.
	s.rewrite(func(text string) string {
		return snat(strings.Replace(text, "[ipvs]\n", "[ipvs]\nsysctls = \"check\"\n", 1))
	})
	s.table(s.lvs1.Host(), true)
	silent("masquerading without conntrack")
	s.slowly(10*time.Second, "status names what lacks", func() error {
		out := s.text(s.lvs1.Host(), os.Getenv("LVSHA_BIN"), "status", "--runtime-dir", s.lvs1.Dir+"/run")
		if !strings.Contains(out, "net.ipv4.vs.conntrack is 0") {
			return errors.New(out)
		}
		return nil
	})

	ports := fmt.Sprintf(`
[[service]]
name = "range"
address = %q
ports = "5000-5010"
servers = [{ name = "web1", address = %q, port = %d }, { name = "web2", address = %q, port = %d }]
`, lab.VIP, s.set.Servers[0], lab.TCPPort, s.set.Servers[1], lab.TCPPort)
	full := func(text string) string {
		return snat(text) + ports
	}
	s.rewrite(full)
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		s.slowly(10*time.Second, d.Host().Name+" has marks and settings", func() error {
			if list := s.text(d.Host(), "nft", "list", "table", "inet", "lvs_ha"); !strings.Contains(list, "tcp dport 5000-5010 meta mark set 0x4c56") {
				return errors.New(list)
			}
			for key, want := range map[string]string{"conntrack": "1", "expire_nodest_conn": "1", "expire_quiescent_template": "1"} {
				if got := strings.TrimSpace(s.text(d.Host(), "cat", "/proc/sys/net/ipv4/vs/"+key)); got != want {
					return fmt.Errorf("%s is %s", key, got)
				}
			}
			return nil
		})
	}
	s.slowly(10*time.Second, "the range is a service", func() error {
		table, err := s.lvs1.Host().Table()
		for _, svc := range table {
			if svc.Protocol == "FWM" && len(svc.Servers) == 2 {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%v", table))
	})
	traffic := func(what string, o lab.LoadOptions) {
		t.Helper()
		from := time.Now()
		o.Every = 5 * time.Millisecond
		ld := s.load(o)
		s.answered(ld, from, 100)
		sum := s.decided(ld, from)
		t.Logf("%s: %s", what, sum)
		if sum.Failed > 0 {
			t.Errorf("%s: %s", what, sum)
		}
		for _, srv := range s.Servers {
			if n := sum.Servers[srv.Name]; !o.UDP && n < sum.OK/3 {
				t.Errorf("%s: round robin gave %s %d of %d", what, srv.Name, n, sum.OK)
			}
		}
		_, err := ld.Stop(s.ctx)
		s.must(err)
	}
	traffic("TCP", lab.LoadOptions{})
	traffic("UDP", lab.LoadOptions{UDP: true})
	for _, port := range []uint16{5000, 5010} {
		traffic(fmt.Sprintf("port %d of a range", port), lab.LoadOptions{Target: netip.AddrPortFrom(lab.VIP, port)})
	}
	if c, err := s.Client.DialContext(s.ctx, "tcp", netip.AddrPortFrom(lab.VIP, 5011).String()); err == nil {
		c.Close()
		t.Error("a port beyond the range answers")
	}

	// Somebody flushes the rules.
	s.text(s.lvs1.Host(), "nft", "flush", "ruleset")
	s.table(s.lvs1.Host(), true)
	traffic("TCP after the rules were flushed", lab.LoadOptions{})

	// Connections to a server that leaves the configuration are forgotten.
	entries := func() string {
		return s.text(s.lvs1.Host(), "conntrack", "-L", "--orig-dst", lab.VIP.String(), "--reply-src", s.Servers[1].Addr.String())
	}
	if n := strings.Count(entries(), "src=10.0.1.22"); n == 0 {
		t.Errorf("conntrack knows nothing of web2:\n%s", s.text(s.lvs1.Host(), "conntrack", "-L"))
	}
	all := s.set.Servers
	s.set.Servers = all[:1]
	s.rewrite(snat)
	s.slowly(15*time.Second, "conntrack forgets web2", func() error {
		if list := entries(); strings.Contains(list, "src=10.0.1.22") {
			return errors.New(list)
		}
		return nil
	})
	s.slowly(10*time.Second, "the table holds only what the configuration has", func() error {
		if list := s.text(s.lvs1.Host(), "nft", "list", "ruleset"); !strings.Contains(list, "lvs_ha") || strings.Contains(list, "5000-5010") || strings.Contains(list, "10.0.1.22") {
			return errors.New(list)
		}
		return nil
	})

	// Nothing needs the table any more, then the agent stops and leaves nothing.
	s.rewrite(func(text string) string { return text })
	s.table(s.lvs2.Host(), false)
	s.rewrite(func(text string) string {
		return snat(strings.Replace(text, "[ipvs]\n", "[ipvs]\non_stop = \"remove\"\n", 1))
	})
	s.table(s.lvs2.Host(), true)
	ctx, cancel := context.WithTimeout(s.ctx, 15*time.Second)
	defer cancel()
	if code, err := s.lvs2.Stop(ctx); code != 0 || err != nil {
		t.Error(code, err)
	}
	if list := s.text(s.lvs2.Host(), "nft", "list", "ruleset"); strings.Contains(list, "lvs_ha") {
		t.Error(list)
	}
}
