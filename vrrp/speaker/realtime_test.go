package speaker

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child tells the scheduling policy of a program started from a thread in real
// time, on which prepare was called before.
func child(t *testing.T, prepare func() error) (policy string) {
	done, refused := make(chan struct{}), false
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with the goroutine
		err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 7}, 0)
		if errors.Is(err, unix.EPERM) {
			refused = true
			return
		}
		if err == nil {
			err = prepare()
		}
		if err == nil {
			policy, err = childHere()
		}
		if err != nil {
			t.Error(err)
		}
	}()
	<-done
	if refused {
		t.Skip("real time is not permitted here")
	}
	return policy
}

func childHere() (string, error) {
	out, err := exec.Command("cat", "/proc/self/stat").Output()
	if err != nil {
		return "", err
	}
	// Fields from the third on: the name, which may hold spaces, is the second.
	f := strings.Fields(string(out[strings.LastIndexByte(string(out), ')')+1:]))
	return f[41-3], nil
}

func TestOrdinaryChildren(t *testing.T) {
	if got := child(t, func() error { return nil }); got != "2" {
		t.Errorf("without it a child has policy %q, want that of its parent", got)
	}
	if got := child(t, OrdinaryChildren); got != "0" {
		t.Errorf("a child has policy %q, want the ordinary one", got)
	}
}

func TestOrdinaryChildrenStaySoWhenTheClassChanges(t *testing.T) {
	// In a process of its own: the class of all threads changes.
	const inside = "LVSHA_TEST_CLASS_CHANGES"
	if os.Getenv(inside) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		switch out, err := cmd.CombinedOutput(); {
		case err != nil:
			t.Errorf("%v: %s", err, out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skip("real time is not permitted here")
		}
		return
	}
	got := child(t, func() error {
		if err := OrdinaryChildren(); err != nil {
			return err
		}
		defer ordinary()
		if text := realtime(8); !strings.HasPrefix(text, "rr 8") {
			return errors.New(text)
		}
		policy, err := childHere()
		if err == nil && policy != "0" {
			err = errors.New("a child of a process in real time has policy " + policy)
		}
		return err
	})
	if got != "0" {
		t.Errorf("after real time has ended a child has policy %q", got)
	}
}

func TestLull(t *testing.T) {
	r := newRig(t, testSpec(200))
	if err := r.l.open(); err != nil {
		t.Fatal(err)
	}
	defer r.l.close()
	r.connect()
	r.ready() // the next deadline is less than half a second away
	here := make(chan struct{})
	r.l.lull = lull{idle - time.Millisecond, here}
	r.l.turn(nil)
	select {
	case <-here:
		t.Fatal("a lull was reported though the instance is due before its end")
	default:
	}
	r.l.instances = nil
	r.l.lull.length = time.Millisecond
	r.l.turn(nil)
	select {
	case <-here:
	default:
		t.Fatal("no lull though nothing is due")
	}
	r.l.turn(nil) // and nobody is told twice
}
