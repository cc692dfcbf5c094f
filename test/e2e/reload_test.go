package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestReload adds a server and removes it again while connections run.
func TestReload(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	all := s.set.Servers
	s.set.Servers = all[:2]
	s.start()
	ld := s.load(lab.LoadOptions{})
	conns := s.hold()
	begin := time.Now()
	reload := func(servers int) {
		t.Helper()
		s.set.Servers = all[:servers]
		s.must(s.lvs1.Agent.Write(s.lvs1.File, 1, s.set))
		for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
			s.must(d.Reload())
		}
		for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
			s.weights(d, s.up())
		}
	}
	w, err := s.lvs1.Host().WatchTable()
	s.must(err)
	reload(3)
	added := time.Now()
	s.answered(ld, added, 50)
	if sum := s.decided(ld, added); sum.Servers["web3"] == 0 {
		t.Errorf("the new server gets nothing: %s", sum)
	}
	reload(2)
	removed := time.Now()
	s.answered(ld, removed, 50)
	if sum := s.decided(ld, removed); sum.Servers["web3"] > 0 {
		t.Errorf("the removed server still gets requests: %s", sum)
	}
	changes, err := w.Stop()
	s.must(err)
	for _, c := range changes {
		if !strings.Contains(c.Entry, all[2].String()) {
			t.Errorf("the reload touched something else: %s", c)
		}
	}
	s.verify(conns, "after two reloads")
	if sum := s.decided(ld, begin); sum.Failed > 0 {
		t.Errorf("clients noticed: %s", sum)
	}
	s.quiet(begin)
}

// quiet asserts that the election noticed nothing since then.
func (s *scene) quiet(since time.Time) {
	s.Helper()
	if gap, n := s.sniffer.LongestGap(s.lvs1.Addr(), since); gap > allowed(advert+advert/2) || n == 0 {
		s.Errorf("advertisements: %d of them, longest gap %s", n, gap)
	}
	if slices.ContainsFunc(s.sniffer.Adverts(since), func(a lab.Advert) bool { return a.From != s.lvs1.Addr() || a.Priority != 200 }) {
		s.Error("the election noticed")
	}
}

// TestBadReload: a file that is no good changes nothing, and the next good one does.
func TestBadReload(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.start()
	conns := s.hold()
	begin := time.Now()
	good := s.set.TOML()
	for name, text := range map[string]string{
		"no TOML":         "version = 1\n[[[",
		"unknown key":     good + "\n[logg]\nlevel = \"info\"\n",
		"another port":    strings.Replace(good, "port = 80, weight", "port = 8080, weight", 1),
		"empty":           "",
		"port in use":     strings.Replace(good, `listen = ["127.0.0.1:10112"]`, `listen = ["127.0.0.1:10112", "10.0.0.250:10112"]`, 1),
		"unknown node":    strings.ReplaceAll(good, "nodes.lvs1", "nodes.other"),
		"bad address":     strings.Replace(good, "10.0.0.21", "10.0.0.321", 1),
		"missing service": strings.Replace(good, `name = "web"`, "", 1),
	} {
		before, err := s.lvs1.Metrics(s.ctx)
		s.must(err)
		hash, _ := before.Get("lvs_ha_config_hash")
		s.unchanged(s.lvs1, func() {
			s.must(os.WriteFile(s.lvs1.File, []byte(text), 0o644))
			s.must(s.lvs1.Reload())
			s.metric(s.lvs1, 3*time.Second, is(0), "lvs_ha_config_last_reload_successful")
			s.must(lab.Pause(s.ctx, 300*time.Millisecond))
		})
		after, err := s.lvs1.Metrics(s.ctx)
		s.must(err)
		if h, _ := after.Get("lvs_ha_config_hash"); h != hash {
			t.Errorf("%s: the configuration in force changed", name)
		}
		if s.lvs1.Process().Ended() {
			t.Fatalf("%s: the agent ended", name)
		}
		// Good again, so that the next bad one is seen to be refused.
		s.must(os.WriteFile(s.lvs1.File, []byte(good), 0o644))
		s.must(s.lvs1.Reload())
		s.metric(s.lvs1, 3*time.Second, is(1), "lvs_ha_config_last_reload_successful")
	}
	s.verify(conns, "after bad reloads")
	s.quiet(begin)
}
