package e2e

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestFailbackAfterReboot: a director that has rebooted, and so forgotten every
// connection, takes mastership back without losing one, whether it talks all
// the time or seldom. The kernel copies a connection only when a packet comes:
// each has to have one while the director is still backup.
func TestFailbackAfterReboot(t *testing.T) {
	if os.Getenv("LVSHA_LONG") == "" {
		t.Skip("costly: runs with LVSHA_LONG set (make test-long)")
	}
	binary(t)
	needIPVS(t)
	needProgram(t, "ipvsadm")
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.pair()
	text := strings.Replace(s.set.TOML(), "[ipvs]\n", "[ipvs]\nsync_threshold = [2, 0]\nsync_refresh_period = \"10s\"\nsync_retries = 1\n", 1)
	text = strings.Replace(text, "preempt = true\n", "preempt = true\npreempt_delay = \"15s\"\n", 1)
	s.must(os.WriteFile(s.lvs1.File, []byte(text), 0o644))
	s.must(s.lvs1.Start())
	s.serving(s.lvs1)
	s.must(s.lvs2.Start())
	s.weights(s.lvs2, s.up())
	s.awaitDaemons(s.lvs1, "master")
	s.awaitDaemons(s.lvs2, "backup")
	quiet, err := s.Hold(s.ctx, 20, 4*time.Second, netip.AddrPort{})
	s.must(err)
	t.Cleanup(quiet.Stop)
	busy := s.hold()
	s.verify(quiet, "quiet ones at first")
	s.must(s.lvs1.Kill(s.ctx))
	s.vip(s.lvs2, true, 5*time.Second)
	s.verify(busy, "after the failover")
	s.verify(quiet, "quiet ones after the failover")
	s.must(s.RebootDirector(1))
	s.must(s.lvs1.Start())
	started := time.Now()
	s.slowly(40*time.Second, "lvs1 takes mastership back", func() error { return s.lvs1.CheckVIP(true) })
	t.Logf("master again %s after the start", time.Since(started).Round(100*time.Millisecond))
	s.verify(busy, "after the return")
	s.verify(quiet, "quiet ones after the return")
}
