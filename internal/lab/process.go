package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Process is a program that runs on a host.
type Process struct {
	Name string
	PID  int
	// LogPath is where its stdout and stderr go.
	LogPath string

	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error         // of Wait, valid then
}

// spawner starts children from one thread that lives as long as the lab. The
// kernel sends the death signal when the *thread* that made a child ends, so
// no other will do; and ending it ends what is left.
type spawner struct {
	jobs  chan func()
	wg    sync.WaitGroup // of processes
	ended chan struct{}
}

func startSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) stop() {
	close(s.jobs)
	<-s.ended
	s.wg.Wait()
}

// Start runs a program on the host. It lives until it ends, is killed, or the
// lab goes. env is added to this process's environment. The log is appended to.
func (h *Host) Start(name string, env, argv []string) (*Process, error) {
	p := &Process{Name: name, LogPath: filepath.Join(h.lab.Dir, h.Name+"-"+name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Dir = h.lab.Dir
	// A group of its own, so that a terminal's interrupt reaches only the lab.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := h.startOnSpawner(p.cmd); err != nil {
		return nil, fmt.Errorf("cannot start %s on %s: %w", name, h.Name, err)
	}
	p.PID = p.cmd.Process.Pid
	h.lab.procs = append(h.lab.procs, p)
	h.lab.spawn.wg.Add(1)
	go func() {
		defer h.lab.spawn.wg.Done()
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (h *Host) startOnSpawner(cmd *exec.Cmd) error {
	var err error
	finished := make(chan struct{})
	h.lab.spawn.jobs <- func() {
		defer close(finished)
		var before netns.NsHandle
		if before, err = netns.Get(); err != nil {
			return
		}
		defer before.Close()
		if err = netns.Set(h.ns); err != nil {
			return
		}
		err = errors.Join(cmd.Start(), netns.Set(before))
	}
	<-finished
	return err
}

// Run runs a program on the host to its end and returns what it said.
func (h *Host) Run(ctx context.Context, argv ...string) (stdout, stderr string, code int, err error) {
	return h.RunAs(ctx, 0, argv...)
}

// RunAs is Run as another user, who has no capabilities then.
func (h *Host) RunAs(ctx context.Context, uid uint32, argv ...string) (stdout, stderr string, code int, err error) {
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	if err := h.startOnSpawner(cmd); err != nil {
		return "", "", -1, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), errors.Join(err, ctx.Err())
}

// Ended tells whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the end and returns the exit code, -1 after a signal.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, fmt.Errorf("%s is still running: %w", p.Name, ctx.Err())
	}
}

// Signal sends one signal to the process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Children lists the pids of its child processes.
func (p *Process) Children() []int { return children(p.PID) }

func children(pid int) (out []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, w := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(w); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// Tree is the process and all below it.
func (p *Process) Tree() []int {
	out := []int{p.PID}
	for i := 0; i < len(out); i++ {
		out = append(out, children(out[i])...)
	}
	return out
}

// KillAll kills the process and all below it with SIGKILL, as a power failure
// would: they are stopped first, so that none acts on the death of another.
func (p *Process) KillAll(ctx context.Context) error {
	if p.Ended() {
		return nil
	}
	all := p.Tree()
	for _, sig := range []unix.Signal{unix.SIGSTOP, unix.SIGKILL} {
		for _, pid := range all {
			if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	return Until(ctx, "the killed processes are gone", func() error {
		for _, pid := range all {
			if alive(pid) {
				return fmt.Errorf("%d is alive", pid)
			}
		}
		return nil
	})
}

// alive: there and not a zombie that its new parent has not collected yet.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	s := string(b)
	rest := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	return len(rest) > 0 && rest[0] != "Z" && rest[0] != "X"
}

// Log is everything the process has printed.
func (p *Process) Log() string {
	b, _ := os.ReadFile(p.LogPath)
	return string(b)
}
