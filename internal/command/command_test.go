package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test program runs itself once more as another user to see what that may do.
func TestMain(m *testing.M) {
	switch os.Getenv("LVS_HA_TEST_HELPER") {
	case "capabilities":
		own, _ := os.ReadFile("/proc/self/status")
		res, err := Command{Argv: []string{"/bin/cat", "/proc/self/status"}}.Run(context.Background())
		fmt.Printf("own\n%sprogram %v\n%s", own, err, res.Output)
		os.Exit(0)
	case "lookup":
		_, err := Lookup("root")
		fmt.Println(err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func sh(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

const patience = 60 * time.Second

func TestRun(t *testing.T) {
	for script, want := range map[string]Result{
		"exit 7":                {Code: 7},
		"echo a; echo b >&2":    {Output: []byte("a\nb\n")},
		"kill -TERM $$":         {Signal: syscall.SIGTERM},
		"pwd; read x; echo end": {Output: []byte("/\nend\n")},
		"echo $A-$HOME-$GOPATH": {Output: []byte("1--\n")},
		"yes | head -c 1000000": {Output: []byte(strings.Repeat("y\n", maxOutput/2))},
		"test $(ps -o pgid= $$) = $$ || test -z \"$(command -v ps)\"": {},
	} {
		c := sh(script)
		c.Env = []string{"A=1"}
		got, err := c.Run(within(t, patience))
		if err != nil || got.Code != want.Code || got.Signal != want.Signal || string(got.Output) != string(want.Output) {
			t.Errorf("%s: %d %v %.40q, %v", script, got.Code, got.Signal, got.Output, err)
		}
	}
	for _, c := range []Command{{}, {Argv: []string{"/no/such"}}, {Argv: []string{"/"}}} {
		if _, err := c.Run(within(t, patience)); err == nil {
			t.Errorf("%v ran", c.Argv)
		}
	}
}

// alive tells whether a process runs (and is not only waiting to be reaped).
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); alive(pid); {
		if time.Now().After(end) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("process %d lives on", pid)
		}
		<-time.After(time.Millisecond)
	}
}

// The whole group ends at the deadline, and with its leader.
func TestTheGroupEnds(t *testing.T) {
	file := t.TempDir() + "/pid"
	began := time.Now()
	pid := 0
	// A busy machine may not start it before the deadline: then with a later one.
	for limit := 300 * time.Millisecond; pid == 0; limit *= 2 {
		_, err := sh("sleep 300 & echo $! >" + file + "; trap '' TERM; sleep 300").Run(within(t, limit))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > patience {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		b, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	gone(t, pid)
	res, err := sh("sleep 300 & echo $!").Run(within(t, patience))
	if pid, _ = strconv.Atoi(strings.TrimSpace(string(res.Output))); err != nil || pid == 0 {
		t.Fatal(res, err)
	}
	gone(t, pid)
}

// One that leaves the group cannot hold the result up.
func TestEscapeDoesNotHang(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	began := time.Now()
	res, err := sh("setsid sleep 100 & exit 3").Run(within(t, patience))
	if err != nil || res.Code != 3 || time.Since(began) > patience {
		t.Errorf("%+v %v after %v", res, err, time.Since(began))
	}
}

func root(t *testing.T) {
	if os.Geteuid() != 0 || !may(unix.CAP_SETUID) {
		if strings.Contains(os.Getenv("LVSHA_REQUIRE"), "root") {
			t.Fatal("not root")
		}
		t.Skip("needs root")
	}
}

// A program has none of the capabilities that the agent got as ambient ones.
func TestNoCapabilitiesArePassedOn(t *testing.T) {
	root(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Dir = []string{"LVS_HA_TEST_HELPER=capabilities"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: []uintptr{unix.CAP_NET_RAW}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	own, program, ok := strings.Cut(string(out), "program <nil>\n")
	if !ok || !strings.Contains(own, "CapAmb:\t0000000000002000") {
		t.Fatalf("%s", out)
	}
	for _, set := range []string{"CapAmb", "CapInh", "CapPrm", "CapEff"} {
		if !strings.Contains(program, set+":\t0000000000000000") {
			t.Errorf("%s of the program is not empty:\n%s", set, program)
		}
	}
}

func TestUser(t *testing.T) {
	if _, err := Lookup("no-such-user"); err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Error(err)
	}
	if id, err := Lookup(strconv.Itoa(os.Geteuid())); err != nil || !id.self {
		t.Error(id, err)
	}
	root(t)
	as, err := Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	c := sh("id -u; grep CapEff /proc/self/status")
	c.As = as
	res, err := c.Run(within(t, patience))
	if err != nil || string(res.Output) != fmt.Sprintf("%d\nCapEff:\t0000000000000000\n", as.uid) {
		t.Errorf("%s %v", res.Output, err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Dir = []string{"LVS_HA_TEST_HELPER=lookup"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "give it CAP_SETUID") {
		t.Errorf("%s %v", out, err)
	}
}

func TestExecutable(t *testing.T) {
	file := t.TempDir() + "/x"
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{nil, {"sh"}, {"/no/such"}, {"/"}, {file}} {
		if Executable(argv) == nil {
			t.Errorf("%q passes", argv)
		}
	}
	if err := Executable([]string{"/bin/sh"}); err != nil {
		t.Error(err)
	}
}
