package speaker_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

// A speaker that was killed and is back at once goes on as master, and nobody
// notices; one that comes back later finds the other as master and takes its
// stale addresses off.
func TestRestartedMasterGoesOn(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a := s.speakerWith(filepath.Join(t.TempDir(), "election"))
	b := s.speaker()
	in := group(200)
	in.Config.Interval = 600 * time.Millisecond
	in.Lifetime = 30 * time.Second
	low := in
	low.Config.Priority = 100
	a.configure(in)
	b.configure(low)
	eventually(t, 8*time.Second, "a is master, b backup", func() bool {
		return a.state() == vrrp.Master && b.state() == vrrp.Backup && a.has(theVIP)
	})
	for try := 1; ; try++ {
		was := b.instance().Transitions["master"]
		there := strings.Count(a.log.String(), "the node is there")
		_ = a.cmd.Process.Signal(syscall.SIGUSR1)
		eventually(t, 5*time.Second, "a is another process", func() bool { return strings.Count(a.log.String(), "the node is there") == there+1 })
		a.configure(in)
		eventually(t, 8*time.Second, "a is master, b backup", func() bool { return a.state() == vrrp.Master && b.state() == vrrp.Backup })
		heard := b.instance().Received
		eventually(t, 5*time.Second, "b hears on", func() bool { return b.instance().Received > heard+2 })
		if b.instance().Transitions["master"] == was {
			break
		}
		if try == 5 { // a busy machine may need longer than three intervals
			t.Fatal("b was master in between, each time")
		}
	}
	eventually(t, 3*time.Second, "a says that it resumed", func() bool { return strings.Contains(a.log.String(), "reason=resume") })
	if st := a.instance(); st.Priority != 200 || !a.has(theVIP) {
		t.Errorf("a has priority %d", st.Priority)
	}

	_ = a.cmd.Process.Signal(syscall.SIGUSR1)
	eventually(t, 8*time.Second, "b takes over", func() bool { return b.state() == vrrp.Master })
	resumed := strings.Count(a.log.String(), "reason=resume")
	a.configure(in)
	eventually(t, 8*time.Second, "a has preempted", func() bool { return a.state() == vrrp.Master && b.state() == vrrp.Backup })
	if strings.Count(a.log.String(), "reason=resume") != resumed {
		t.Error("a resumed although it was away for too long")
	}
}
