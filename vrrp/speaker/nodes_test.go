package speaker_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// A stopped process must hear what was sent meanwhile before it concludes that
// the master is dead.
func TestStalledBackupDrainsFirst(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a, b := s.speaker(), s.speaker()
	a.configure(group(200))
	b.configure(group(100))
	eventually(t, 5*time.Second, "a is master, b backup", func() bool { return a.state() == vrrp.Master && b.state() == vrrp.Backup })
	entered := b.instance().Transitions["master"]
	_ = b.cmd.Process.Signal(syscall.SIGSTOP)
	sent := a.instance().Sent
	eventually(t, 3*time.Second, "ten intervals", func() bool { return a.instance().Sent > sent+10 })
	_ = b.cmd.Process.Signal(syscall.SIGCONT)
	received := b.instance().Received
	eventually(t, 3*time.Second, "b hears again", func() bool { return b.instance().Received > received+3 })
	if st := b.instance(); st.State != vrrp.Backup || st.Transitions["master"] != entered {
		t.Errorf("b became master although a was there: %+v", st)
	}
	eventually(t, time.Second, "the stall is logged", func() bool { return strings.Contains(b.log.String(), "event=stalled") })
}

// A master that was stopped while another took over gives way or takes back,
// and ends with one master whose announcement is the last.
func TestStalledMaster(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a, b := s.speaker(), s.speaker()
	a.configure(group(200))
	b.configure(group(100))
	eventually(t, 5*time.Second, "a is master", func() bool { return a.state() == vrrp.Master && b.state() == vrrp.Backup })
	_ = a.cmd.Process.Signal(syscall.SIGSTOP)
	eventually(t, 3*time.Second, "b has taken over", func() bool { return b.state() == vrrp.Master })
	_ = a.cmd.Process.Signal(syscall.SIGCONT)
	eventually(t, 3*time.Second, "one master again", func() bool {
		return a.state() == vrrp.Master && b.state() == vrrp.Backup && a.has(theVIP) && !b.has(theVIP)
	})
}

func TestFailover(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a, b := s.speaker(), s.speaker()
	a.configure(group(200))
	eventually(t, 5*time.Second, "a is master", func() bool { return a.state() == vrrp.Master })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.client.Failover(ctx, link.Failover{Instance: "edge"}); err == nil {
		t.Error("handed over to nobody")
	}
	b.configure(group(210))
	eventually(t, 5*time.Second, "b is master", func() bool { return b.state() == vrrp.Master && a.state() == vrrp.Backup })
	if err := b.client.Failover(ctx, link.Failover{Instance: "edge", Force: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "a is master, b stays backup", func() bool { return a.state() == vrrp.Master && b.state() == vrrp.Backup && !b.has(theVIP) })
	sent := a.instance().Sent
	eventually(t, 3*time.Second, "for longer than a master-down interval", func() bool { return a.instance().Sent > sent+8 })
	if b.state() != vrrp.Backup {
		t.Error("b has preempted although it was told to hand over")
	}
	if st := a.status(); st.Lag.Count() == 0 || st.PID != a.cmd.Process.Pid || st.Logged["info"] == 0 || st.Realtime == "" {
		t.Errorf("status %+v", st)
	}
}

// Somebody else's claim of the address is counted and answered.
func TestForeignClaimIsAnsweredOnTheWire(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a := s.speaker()
	in := group(200)
	in.Announce = vrrp.Announce{Count: 1}
	a.configure(in)
	eventually(t, 5*time.Second, "master, announced", func() bool {
		return a.state() == vrrp.Master && len(s.cap.find(gratuitous(a, theVIP))) == 1
	})
	br, err := net.InterfaceByName(s.name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := packet.Listen(br, packet.Raw, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := []byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, 9, 10, 77, 0, 100, 0, 0, 0, 0, 0, 0, 10, 77, 0, 100,
	}
	eventually(t, 3*time.Second, "the claim is heard and answered", func() bool {
		if a.instance().ForeignClaims == 0 {
			_, _ = c.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
		}
		return len(s.cap.find(gratuitous(a, theVIP))) == 2
	})
}

func TestRealtime(t *testing.T) {
	t.Parallel()
	s := newSegment(t)
	a := s.speaker()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	policies := func() (rr, other int) {
		dir := "/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/task"
		tasks, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range tasks {
			tid, _ := strconv.Atoi(e.Name())
			if at, err := unix.SchedGetAttr(tid, 0); err == nil && at.Policy == unix.SCHED_RR {
				if at.Priority != 7 || at.Flags != 0 { // threads to come inherit it
					t.Errorf("thread with %+v", *at)
				}
				rr++
			} else {
				other++
			}
		}
		return rr, other
	}
	if err := a.client.Configure(ctx, link.Configure{Instances: []vrrp.Instance{group(200)}, Realtime: 7}); err != nil {
		t.Fatal(err)
	}
	text := a.status().Realtime
	rr, other := policies()
	switch {
	case strings.HasPrefix(text, "rr 7"):
		if rr < 3 || other > 0 {
			t.Errorf("%q, but %d threads of %d", text, rr, rr+other)
		}
	case strings.HasPrefix(text, "not p"):
		t.Skipf("real time is %s", text)
	default:
		t.Errorf("status says %q", text)
	}
	if err := a.client.Configure(ctx, link.Configure{Instances: []vrrp.Instance{group(200)}, Realtime: -1}); err != nil {
		t.Fatal(err)
	}
	if rr, _ := policies(); rr > 0 || a.status().Realtime != "off" {
		t.Errorf("%d threads are still in real time, status %q", rr, a.status().Realtime)
	}
}
