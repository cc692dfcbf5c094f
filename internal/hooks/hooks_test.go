package hooks

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script writes an executable shell script.
func script(t *testing.T, body string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// patience with what takes milliseconds where nothing else runs.
const patience = 30 * time.Second

type run struct {
	*Runner
	stop func()
}

// begin makes and runs a runner with one hook for "edge".
func begin(t *testing.T, o Options, h *Hook) *run {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := New(o)
	if h != nil {
		r.Set(map[string]*Hook{"edge": h})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = r.Run(ctx); close(done) }()
	x := &run{r, func() { cancel(); <-done }}
	t.Cleanup(x.stop)
	return x
}

func (r *run) drain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Drain(ctx); err != nil {
		t.Fatal("hooks still wait: ", err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func event(seq uint64, s State) Event {
	return Event{Seq: seq, Instance: "edge", Kind: Transition, State: s, From: "backup", Reason: "master-lost", Priority: 150, At: time.Unix(1700000000, 0)}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCommandIsToldInOrderWithWhatKeepalivedAppends(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRET", "of the agent")
	h := &Hook{Argv: []string{script(t, `echo "$@" >> "$1"; env | sort > "$1.env"`), out, "two words"}, Timeout: 10 * time.Second, Env: []string{"LVS_HA_INTERFACE=eth0"}}
	r := begin(t, Options{}, h)
	for i, s := range []State{Backup, Master, Fault, Stop} {
		r.Post(event(uint64(i+1), s))
	}
	r.Post(event(2, Master)) // sent again
	r.drain(t)
	var want strings.Builder
	for _, s := range []string{"BACKUP", "MASTER", "FAULT", "STOP"} {
		fmt.Fprintf(&want, "%s two words INSTANCE edge %s 150\n", out, s)
	}
	if got := read(t, out); got != want.String() {
		t.Errorf("told\n%s, want\n%s", got, want.String())
	}
	env := read(t, out+".env")
	for _, want := range []string{"LVS_HA_EVENT=transition\n", "LVS_HA_INSTANCE=edge\n", "LVS_HA_STATE=stop\n", "LVS_HA_FROM=backup\n",
		"LVS_HA_REASON=master-lost\n", "LVS_HA_PLANNED=false\n", "LVS_HA_PRIORITY=150\n", "LVS_HA_TIME=2023-11-14T22:13:20Z\n",
		"LVS_HA_INTERFACE=eth0\n", "PATH=/usr/local/sbin:"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in\n%s", want, env)
		}
	}
	if strings.Contains(env, "SECRET") {
		t.Error("the agent's environment shows")
	}
	if n := r.Runs()[Run{"edge", OK}]; n != 4 {
		t.Errorf("%d runs counted", n)
	}
}

func TestCommandHasNoCapabilities(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	h := &Hook{Argv: []string{script(t, `cat /proc/self/status > "$1"; ps -o pgid= -p $$ >> "$1"`), out}, Timeout: 10 * time.Second}
	r := begin(t, Options{}, h)
	r.Post(event(1, Master))
	r.drain(t)
	seen := 0
	for line := range strings.Lines(read(t, out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if !strings.HasPrefix(name, "Cap") {
			continue
		}
		if name == "CapBnd" && os.Geteuid() != 0 {
			continue
		}
		seen++
		if strings.Trim(value, "0") != "" {
			t.Errorf("%s is %s in the command", name, value)
		}
	}
	if seen < 4 {
		t.Errorf("%d sets of capabilities seen", seen)
	}
	// And ours are still there.
	us := read(t, "/proc/self/status")
	if os.Geteuid() == 0 && strings.Contains(us, "CapEff:\t0000000000000000") {
		t.Error("our own capabilities went too")
	}
}

func TestDeadlineKillsTheWholeGroup(t *testing.T) {
	r := begin(t, Options{}, nil)
	var pids []string
	// A busy machine may not start both before the deadline: then with a later one.
	for n, limit := uint64(1), 300*time.Millisecond; len(pids) != 2; n, limit = n+1, 2*limit {
		if limit > patience {
			t.Fatalf("started %v", pids)
		}
		out := filepath.Join(t.TempDir(), "out")
		r.Set(map[string]*Hook{"edge": {Argv: []string{script(t, `sh -c 'echo $$ >> "$0"; while :; do sleep 60; done' "$1" &
echo $$ >> "$1"
while :; do sleep 60; done`), out}, Timeout: limit}})
		r.Post(event(n, Master))
		r.drain(t)
		if got := r.Runs()[Run{"edge", Timeout}]; got != n {
			t.Errorf("counted %v", r.Runs())
		}
		b, _ := os.ReadFile(out)
		pids = strings.Fields(string(b))
	}
	for _, p := range pids {
		pid, _ := strconv.Atoi(p)
		t.Cleanup(func() {
			if t.Failed() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
		eventually(t, p+" is gone", func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(b), ") Z ")
		})
	}
}

func TestQueueOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	out, queue := filepath.Join(dir, "out"), filepath.Join(dir, "hooks.json")
	slow := &Hook{Argv: []string{script(t, `echo "$4" >> "$1"; exec sleep 60`), out}, Timeout: time.Minute}
	r := begin(t, Options{File: queue, Speaker: 7}, nil)
	r.Post(event(1, Master)) // before the hooks are known
	r.Set(map[string]*Hook{"edge": slow})
	r.Post(event(2, Backup))
	eventually(t, "the command began", func() bool { b, _ := os.ReadFile(out); return len(b) > 0 })
	r.stop()

	quick := &Hook{Argv: []string{script(t, `echo "$4" >> "$1"`), out}, Timeout: time.Minute}
	r = begin(t, Options{File: queue, Speaker: 7}, quick)
	r.Post(event(2, Backup)) // sent again by the speaker
	r.Post(event(3, Fault))
	r.drain(t)
	if got := strings.Fields(read(t, out)); strings.Join(got, " ") != "MASTER MASTER BACKUP FAULT" {
		t.Errorf("told %v", got)
	}
	r.stop()

	// Another speaker counts from the beginning and knows nothing of the old queue.
	r = begin(t, Options{File: queue, Speaker: 8}, quick)
	r.Post(event(1, Backup))
	r.drain(t)
	if got := strings.Fields(read(t, out)); len(got) != 5 {
		t.Errorf("told %v", got)
	}
}

func TestInstanceThatIsGoneIsToldOfItsStop(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	h := &Hook{Argv: []string{script(t, `echo "$4" >> "$1"`), out}, Timeout: time.Minute}
	r := begin(t, Options{}, h)
	r.Post(event(1, Master))
	r.Set(map[string]*Hook{})
	r.Post(event(2, Stop))
	r.drain(t)
	r.Post(event(3, Master))
	r.drain(t)
	if got := strings.Fields(read(t, out)); strings.Join(got, " ") != "MASTER STOP" {
		t.Errorf("told %v", got)
	}
}

func TestOutputIsLimitedAndHarmless(t *testing.T) {
	var log strings.Builder
	h := &Hook{Argv: []string{script(t, `printf 'line\n\033[31mred\001\n'; head -c 100000 /dev/zero | tr '\0' x; exit 3`)}, Timeout: 10 * time.Second}
	r := begin(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, h)
	r.Post(event(1, Master))
	r.drain(t)
	r.stop()
	if n := r.Runs()[Run{"edge", Failed}]; n != 1 {
		t.Errorf("counted %v", r.Runs())
	}
	s := log.String()
	if !strings.Contains(s, "line [31mred xxx") || strings.Contains(s, "\x1b") || !strings.Contains(s, "exit status 3") {
		t.Errorf("logged %.300q", s)
	}
	if len(s) > 5<<10 {
		t.Errorf("%d octets logged", len(s))
	}
}

func TestMissingCommandFails(t *testing.T) {
	r := begin(t, Options{}, &Hook{Argv: []string{"/nonexistent/hook"}, Timeout: time.Second})
	r.Post(event(1, Master))
	r.drain(t)
	if n := r.Runs()[Run{"edge", Failed}]; n != 1 {
		t.Errorf("counted %v", r.Runs())
	}
}

func TestLaneDropsTheOldest(t *testing.T) {
	r := New(Options{Log: slog.New(slog.DiscardHandler)})
	r.Set(map[string]*Hook{"edge": {Argv: []string{"/bin/true"}, Timeout: time.Second}})
	for i := range uint64(laneLimit + 10) {
		r.Post(event(i+1, Master))
	}
	l := r.lanes["edge"].events
	if len(l) != laneLimit || l[0].Seq != 11 || l[laneLimit-1].Seq != laneLimit+10 {
		t.Errorf("%d wait, %d..%d", len(l), l[0].Seq, l[len(l)-1].Seq)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add([]byte("a\x1b[31m\n\xff\u202e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range printable(b) {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q passes", r)
			}
		}
	})
}
