package supervise

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is its own child: what it does then is in the environment.
func TestMain(m *testing.M) {
	switch os.Getenv("SUPERVISE_TEST_CHILD") {
	case "":
		goleak.VerifyTestMain(m)
	case "refuse":
		os.Exit(7)
	case "serve":
		f := os.NewFile(ChildFD, "link")
		c, err := net.FileConn(f)
		if err != nil {
			os.Exit(3)
		}
		signal.Ignore(syscall.SIGTERM)
		if _, err := io.WriteString(c, strings.Join(os.Args[1:], " ")+"\n"); err != nil {
			os.Exit(4)
		}
		_, _ = io.Copy(io.Discard, c)
		os.Exit(0)
	case "hang":
		f := os.NewFile(ChildFD, "link")
		c, _ := net.FileConn(f)
		_, _ = io.WriteString(c, "hanging\n")
		select {}
	}
}

var quiet = slog.New(slog.DiscardHandler)

// start runs a supervisor whose children's first lines arrive on the channel.
func start(t *testing.T, child string, o Options) (s *Supervisor, hello chan string, end func() error) {
	t.Helper()
	t.Setenv("SUPERVISE_TEST_CHILD", child)
	hello = make(chan string, 8)
	o.Log, o.Stderr = quiet, os.Stderr
	o.Serve = func(ctx context.Context, c net.Conn) error {
		defer context.AfterFunc(ctx, func() { c.Close() })()
		r := bufio.NewReader(c)
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		s.Accept()
		hello <- strings.TrimSpace(line)
		_, err = io.Copy(io.Discard, r)
		return err
	}
	s = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := false
	end = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return within(t, done)
	}
	t.Cleanup(func() { _ = end() })
	return s, hello, end
}

func within[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(60 * time.Second):
		t.Fatal("nothing happened in 60 s")
		panic("unreachable")
	}
}

func TestFirstChildRefuses(t *testing.T) {
	t.Setenv("SUPERVISE_TEST_CHILD", "refuse")
	s := New(Options{Log: quiet, Serve: func(_ context.Context, c net.Conn) error { _, err := io.Copy(io.Discard, c); return err }})
	err := s.Run(t.Context())
	var ee *ExitError
	if !errors.As(err, &ee) || ee.Code != 7 {
		t.Fatalf("Run: %v, want an ExitError with the child's code 7", err)
	}
}

func TestRestartAfterDeath(t *testing.T) {
	gone := make(chan struct{}, 8)
	s, hello, end := start(t, "serve", Options{Args: []string{"first"}, Gone: func() { gone <- struct{}{} }})
	if got := within(t, hello); got != "first" {
		t.Errorf("the first child was started with %q", got)
	}
	killed := time.Now()
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, gone)
	if got := within(t, hello); got != "first --again" {
		t.Errorf("the second child was started with %q", got)
	}
	if took := time.Since(killed); took > 15*time.Second {
		t.Errorf("back after %v", took)
	}
	if n := s.Restarts(); n != 1 {
		t.Errorf("%d restarts, want 1", n)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestSilentChildIsKilled(t *testing.T) {
	s, hello, _ := start(t, "hang", Options{SilenceLimit: time.Second})
	first := within(t, hello)
	second := within(t, hello)
	if !slices.Equal([]string{first, second}, []string{"hanging", "hanging"}) || s.Restarts() == 0 {
		t.Errorf("heard %q, %q; restarts %d", first, second, s.Restarts())
	}
}

// A child that hangs in the kernel does not end when it is killed: that it does
// nothing any more is known before.
func TestKilledChildCountsAsGone(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = []string{"SUPERVISE_TEST_CHILD=hang"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	gone := make(chan struct{}, 1)
	s := New(Options{Log: quiet, SilenceLimit: time.Second, Gone: func() { gone <- struct{}{} }})
	s.Accept()
	s.guard(t.Context(), cmd.Process, make(chan struct{})) // as if it never ended
	select {
	case <-gone:
	default:
		t.Error("nobody was told")
	}
}

func TestWantedEnd(t *testing.T) {
	t.Setenv("SUPERVISE_TEST_CHILD", "serve")
	var s *Supervisor
	s = New(Options{Log: quiet, Serve: func(_ context.Context, c net.Conn) error {
		_, err := bufio.NewReader(c).ReadString('\n')
		s.Accept()
		s.Ending()
		return err // closes the link, and with it the child
	}})
	if err := s.Run(t.Context()); err != nil {
		t.Errorf("a wanted end is not an error: %v", err)
	}
}
