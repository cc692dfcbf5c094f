package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// ask runs a command of the program against the agent on d.
func (s *scene) ask(d *lab.Director, want int, args ...string) string {
	s.Helper()
	args = append(args, "--runtime-dir", d.Dir+"/run")
	out, stderr, code, err := d.Host().Run(s.ctx, append([]string{os.Getenv("LVSHA_BIN")}, args...)...)
	if err != nil || code != want {
		s.Errorf("%s: exit %d %v, want %d\n%s%s", strings.Join(args, " "), code, err, want, out, stderr)
	}
	return out + stderr
}

// TestDrain: a drained server gets nothing new, those who are connected to it
// stay, nobody fails, and the order outlives the director process.
func TestDrain(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.start()
	conns := s.hold()
	ld := s.load(lab.LoadOptions{})
	began := time.Now()
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		s.ask(d, 0, "drain", "web/web2", "--reason", "kernel update")
		s.weights(d, s.with(2, 0))
	}
	drained := time.Now()
	s.answered(ld, drained, 50)
	sum := s.decided(ld, drained)
	if sum.Failed > 0 || sum.Servers["web2"] > 0 {
		t.Errorf("while web2 is drained: %s", sum)
	}
	s.verify(conns, "connections while web2 is drained")
	s.metric(s.lvs1, 2*time.Second, is(1), "lvs_ha_server_admin_state", "service", "web", "server", "web2", "state", "drain")
	s.metric(s.lvs1, 2*time.Second, is(1), "lvs_ha_server_up", "service", "web", "server", "web2")

	if out := s.ask(s.lvs1, 6, "drain", "web/web2", "--wait=1s"); !strings.Contains(out, "not drained yet") {
		t.Errorf("the wait for held connections said %s", out)
	}
	if out := s.ask(s.lvs1, 5, "drain", "web"); !strings.Contains(out, "would end service web") {
		t.Errorf("the end of a service was refused with %s", out)
	}
	s.weights(s.lvs1, s.with(2, 0))
	conns.Stop()
	s.ask(s.lvs1, 0, "drain", "web/web2", "--wait=30s")
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		s.ask(d, 0, "ready", "web/web2")
		s.weights(d, s.up())
	}
	ready := time.Now()
	s.answered(ld, ready, 50)
	if sum := s.decided(ld, ready); sum.Servers["web2"] == 0 {
		t.Errorf("after ready: %s", sum)
	}
	if sum := s.decided(ld, began); sum.Failed > 0 {
		t.Errorf("all the time: %s", sum)
	}
}

// TestPause: in a pause nothing that checks say reaches the kernel; its end
// puts everything right.
func TestPause(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.start()
	s.ask(s.lvs1, 0, "pause", "--reason", "surgery")
	s.must(s.Servers[1].Kill(s.ctx))
	s.metric(s.lvs1, 5*time.Second, is(0), "lvs_ha_server_up", "service", "web", "server", "web2")
	s.metric(s.lvs1, 2*time.Second, is(1), "lvs_ha_ipvs_paused")
	s.weights(s.lvs2, s.with(2, 0))
	if got, err := s.lvs1.Host().Weights(); err != nil || got[s.Servers[1].Addr] != 1 {
		t.Errorf("in the pause: %v %v", got, err)
	}
	s.ask(s.lvs1, 0, "resume")
	s.weights(s.lvs1, s.with(2, 0))
	s.within(2*time.Second, "the pause is over", func() error {
		m, err := s.lvs1.Metrics(s.ctx)
		if err != nil {
			return err
		}
		if v, _ := m.Get("lvs_ha_ipvs_paused"); v != 0 {
			return errors.New("still paused")
		}
		return nil
	})
}
