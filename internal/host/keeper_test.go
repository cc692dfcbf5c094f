package host

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged is a buffer for the log of a Keeper.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was logged since the last call.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// later is d later, when everybody has done what there was to do.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inBubble runs a keeper in a bubble, beside the test.
func inBubble[K interface{ Run(context.Context) error }](t *testing.T, keeper func(*slog.Logger) K, test func(t *testing.T, k K, log *logged)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &logged{}
		k := keeper(slog.New(slog.NewTextHandler(log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = k.Run(ctx) })
		synctest.Wait()
		test(t, k, log)
		cancel()
		wg.Wait()
	})
}

func keeping(t *testing.T, m machine, test func(t *testing.T, k *Keeper, log *logged)) {
	t.Helper()
	inBubble(t, func(log *slog.Logger) *Keeper { return newKeeper(m, log) }, test)
}

var two = []Sysctl{{Key: "net.a", Value: "1", Why: "a is needed"}, {Key: "net.fwd", Value: "1", Why: "nothing is forwarded", Foreign: true}}

func TestKeeperSetsAndRepairs(t *testing.T) {
	f := &fake{sys: map[string]string{"net.a": "0", "net.fwd": "0"}}
	keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
		if _, n := f.settings(); n != 0 {
			t.Fatal("writes before anything is wanted")
		}
		k.Set(Want{Sysctls: two, Manage: true, Interval: 10 * time.Second})
		if err := k.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, n := f.settings()
		if d := cmp.Diff(map[string]string{"net.a": "1", "net.fwd": "0"}, got); d != "" || n != 1 {
			t.Error(n, d)
		}
		if s := log.take(); !strings.Contains(s, "event=sysctl_set key=net.a old=0 new=1") || !strings.Contains(s, "net.fwd is 0: nothing is forwarded; cure: sysctl -w net.fwd=1") {
			t.Error(s)
		}
		if got := k.Findings(); len(got) != 1 {
			t.Error(got)
		}
		later(35 * time.Second)
		if _, n := f.settings(); n != 1 {
			t.Errorf("%d writes where nothing changed", n)
		}
		if s := log.take(); s != "" {
			t.Errorf("said again: %s", s)
		}
		f.put("net.a", "0")
		f.put("net.fwd", "1")
		later(10 * time.Second)
		if got, _ := f.settings(); got["net.a"] != "1" {
			t.Error("not repaired", got)
		}
		if s := log.take(); !strings.Contains(s, "sysctl_repaired") || !strings.Contains(s, "host_finding_over") {
			t.Error(s)
		}
		if got := k.Findings(); len(got) != 0 {
			t.Error(got)
		}
		if d := cmp.Diff(map[string]uint64{RepairSysctl: 1}, k.Repairs()); d != "" {
			t.Error(d)
		}
	})
}

func TestKeeperOnlyChecks(t *testing.T) {
	f := &fake{sys: map[string]string{"net.a": "0", "net.fwd": "1"}}
	keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
		k.Set(Want{Sysctls: two, Interval: time.Second})
		later(10 * time.Second)
		if _, n := f.settings(); n != 0 {
			t.Error("wrote")
		}
		if s := log.take(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "net.a is 0") {
			t.Error(s)
		}
	})
}

// TestKeeperPaused: in a pause the machine is looked at and nothing is written,
// whoever changes what; afterwards all of it is.
func TestKeeperPaused(t *testing.T) {
	f := &fake{sys: map[string]string{"net.a": "0", "net.fwd": "1", "net.ipv4.vs.conntrack": "1"}}
	keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
		k.Pause(true)
		k.Set(Want{Sysctls: two, Manage: true, Rules: full(), Interval: time.Second})
		k.End([]Flow{{Protocol: 6, Server: ap("10.0.0.1:80")}})
		later(10 * time.Second)
		if _, n := f.settings(); n != 0 || f.table != nil || len(f.ended) > 0 {
			t.Error("wrote in a pause", n, f.table, f.ended)
		}
		if s := log.take(); strings.Count(s, "\n") != 2 || !strings.Contains(s, "net.a is 0") || !strings.Contains(s, "lvs-ha resume") {
			t.Error(s)
		}
		k.Pause(false)
		later(0)
		if got, _ := f.settings(); got["net.a"] != "1" || f.table == nil || len(f.ended) != 1 {
			t.Error("not made up for", got, f.table, f.ended)
		}
		if got := k.Findings(); len(got) > 0 {
			t.Error(got)
		}
		// What is no longer needed stays during a pause, and goes after it.
		k.Pause(true)
		k.Set(Want{Interval: time.Second})
		later(5 * time.Second)
		if f.table == nil {
			t.Error("removed in a pause")
		}
		k.Pause(false)
		later(0)
		if f.table != nil {
			t.Error("not removed after the pause")
		}
	})
}

func TestKeeperReadOnlyProc(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EROFS, unix.EACCES, unix.EPERM} {
		f := &fake{sys: map[string]string{"net.a": "0", "net.fwd": "1"}, readOnly: errno}
		keeping(t, f, func(t *testing.T, k *Keeper, log *logged) {
			k.Set(Want{Sysctls: two, Manage: true, Interval: time.Second})
			later(10 * time.Second)
			if s := log.take(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "ProtectKernelTunables") || !strings.Contains(s, "net.a = 1") {
				t.Errorf("%v: %s", errno, s)
			}
		})
	}
}

func TestKeeperWaitEndsWithContext(t *testing.T) {
	k := newKeeper(&fake{}, slog.New(slog.DiscardHandler))
	k.Set(Want{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if k.Wait(ctx) == nil {
		t.Error("waited for nobody")
	}
}
