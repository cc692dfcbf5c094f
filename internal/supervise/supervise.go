// Package supervise keeps the director process running beside the speaker.
//
//	speaker ── Run ──▶ start child (same binary) ──▶ Serve(conn) until it ends ──▶ wait ──▶ again
//	                       ▲                                                           │
//	                       └──────────────────────── back-off ─────────────────────────┘
//
// The child gets one end of a socket pair as descriptor 3, dies with its
// parent, and is killed when it stays silent. It is started again after it
// died, unless it never came as far as being accepted: then its exit status is
// the program's.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ChildFD is the descriptor of the child's end of the socket pair.
const ChildFD = 3

// Back-off between two starts: the first restart is all but immediate, so that
// a crash once a week costs nothing; a child that keeps dying young is tried
// ever more rarely.
const (
	firstDelay = 20 * time.Millisecond
	maxDelay   = 5 * time.Second
	oldAge     = 10 * time.Second
)

// killDelay is what a child gets between a request to end and SIGKILL.
const killDelay = 2 * time.Second

// Options of a supervised child.
type Options struct {
	// Args of the child, without the program's name: it is this binary.
	Args []string
	// Env is added to this process's own environment.
	Env    []string
	Stderr io.Writer
	Log    *slog.Logger
	// Serve talks to the child until the connection ends or ctx does.
	Serve func(ctx context.Context, c net.Conn) error
	// SilenceLimit after which a child is killed; 0 for never.
	SilenceLimit time.Duration
	// Gone is called when a child that was accepted has ended, and before when it
	// is killed: one that hangs in the kernel may be long in ending. May be nil.
	Gone func()
}

// Supervisor of one child.
type Supervisor struct {
	o        Options
	beats    atomic.Uint64
	accepted atomic.Bool
	ending   atomic.Bool
	restarts atomic.Uint64
	pid      atomic.Int64
}

// New makes a supervisor; it starts nothing.
func New(o Options) *Supervisor { return &Supervisor{o: o} }

// Beat notes a sign of life of the child.
func (s *Supervisor) Beat() { s.beats.Add(1) }

// Accept notes that the child has come as far as running normally.
func (s *Supervisor) Accept() { s.accepted.Store(true) }

// Ending notes that the child's next end is wanted: Run returns then.
func (s *Supervisor) Ending() { s.ending.Store(true) }

// Restarts counts children started after the first.
func (s *Supervisor) Restarts() uint64 { return s.restarts.Load() }

// PID of the present child, 0 if there is none.
func (s *Supervisor) PID() int { return int(s.pid.Load()) }

// ExitError is the end of a child that was never accepted.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("the director process ended at start: %v", e.Err)
}
func (e *ExitError) Unwrap() error { return e.Err }

// Run starts the child and starts it again until ctx ends or the end is
// wanted. It returns *ExitError when the first child gave up.
func (s *Supervisor) Run(ctx context.Context) error {
	// The parent-death signal is tied to the thread that forks (prctl(2)).
	runtime.LockOSThread()
	delay := firstDelay
	for n := 0; ; n++ {
		if n > 0 {
			s.restarts.Add(1)
		}
		born := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil || s.ending.Load() {
			return nil
		}
		if !s.accepted.Load() {
			code := 1
			var ee *exec.ExitError
			if errors.As(err, &ee) && ee.ExitCode() > 0 {
				code = ee.ExitCode()
			}
			return &ExitError{code, err}
		}
		if s.o.Gone != nil {
			s.o.Gone()
		}
		if time.Since(born) > oldAge {
			delay = firstDelay
		}
		s.o.Log.Error("the director process ended, starting it again; addresses and kernel table stay", "event", "director_died", "err", err, "in", delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil
		}
		delay = min(2*delay, maxDelay)
	}
}

// once runs one child to its end.
func (s *Supervisor) once(ctx context.Context) error {
	conn, far, err := pair()
	if err != nil {
		return fmt.Errorf("socket pair: %w", err)
	}
	defer conn.Close()
	args := s.o.Args
	if s.accepted.Load() {
		// It takes over from one that ran: a file that was broken since must not keep it from starting.
		args = append(append([]string{}, args...), "--again")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), s.o.Env...)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = s.o.Stderr
	cmd.ExtraFiles = []*os.File{far}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	far.Close()
	if err != nil {
		return err
	}
	s.pid.Store(int64(cmd.Process.Pid))
	defer s.pid.Store(0)

	serveCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.o.Serve(serveCtx, conn); err != nil && serveCtx.Err() == nil {
			s.o.Log.Debug("link to the director", "err", err)
		}
		// Without its link the child ends by itself; if it does not, it hangs.
		conn.Close()
	})
	exited := make(chan struct{})
	wg.Go(func() { s.guard(ctx, cmd.Process, exited) })
	err = cmd.Wait()
	close(exited)
	cancel()
	conn.Close()
	wg.Wait()
	if err == nil {
		err = errors.New("exit status 0")
	}
	return err
}

// guard kills a child that is silent, or that outlives ctx.
func (s *Supervisor) guard(ctx context.Context, p *os.Process, exited <-chan struct{}) {
	// Missed turns are counted, not time: after a pause of the whole machine
	// the child gets the same chance as we.
	turn := time.NewTicker(time.Second)
	defer turn.Stop()
	last, missed := s.beats.Load(), 0
	for {
		select {
		case <-exited:
			return
		case <-ctx.Done():
			select {
			case <-exited:
			case <-time.After(killDelay):
				_ = p.Kill()
			}
			return
		case <-turn.C:
		}
		if b := s.beats.Load(); b != last {
			last, missed = b, 0
			continue
		}
		missed++
		if s.o.SilenceLimit > 0 && time.Duration(missed)*time.Second >= s.o.SilenceLimit {
			s.o.Log.Error("the director process is silent, killing it", "event", "director_hangs", "pid", p.Pid, "silent", s.o.SilenceLimit)
			_ = p.Kill()
			if s.accepted.Load() && s.o.Gone != nil {
				s.o.Gone()
			}
			return
		}
	}
}

// pair makes the two ends of a stream socket pair.
func pair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	near := os.NewFile(uintptr(fds[0]), "link")
	defer near.Close()
	c, err := net.FileConn(near)
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return c, os.NewFile(uintptr(fds[1]), "link"), nil
}
