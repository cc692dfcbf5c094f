package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is what to run. It may be run many times, also at the same time.
type Command struct {
	Argv []string // the program with its path, and its arguments
	Env  []string // beside PATH
	As   *Identity
}

// Identity is whom a program runs as.
type Identity struct {
	uid, gid uint32
	groups   []uint32
	self     bool // who the agent is anyway
}

// Result of a program that ran.
type Result struct {
	Code   int            // exit status, 0..255
	Signal syscall.Signal // that ended it; 0 if it ended by itself
	Output []byte         // the beginning of what it wrote
}

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Run runs the program and waits for it and its group to end. An error means
// that it could not be started, or that ctx ended first (ctx.Err then tells).
func (c Command) Run(ctx context.Context) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if len(c.Argv) == 0 {
		return Result{}, errors.New("no command")
	}
	type outcome struct {
		res Result
		err error
	}
	ch := make(chan outcome, 1)
	go spoil(func() {
		res, err := c.run(ctx)
		ch <- outcome{res, err}
	})
	o := <-ch
	return o.res, o.err
}

// spoil runs f on a thread that may lose what belongs to threads, such as
// capabilities: it is not given back but ends with the calling goroutine.
func spoil(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	// The first thread cannot end, and it stands for the process in /proc. Held
	// here it cannot be the other goroutine's either.
	done := make(chan struct{})
	go func() {
		defer close(done)
		spoil(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

func (c Command) run(ctx context.Context) (Result, error) {
	if err := bare(c.As == nil || c.As.self); err != nil {
		return Result{}, fmt.Errorf("cannot drop capabilities: %w", err)
	}
	out, in, err := collect()
	if err != nil {
		return Result{}, fmt.Errorf("cannot run %s: %w", c.Argv[0], err)
	}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append([]string{path}, c.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = in, in
	// The thread lives as long as the program, so its death signal is that of the agent.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.As != nil && !c.As.self {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.As.uid, Gid: c.As.gid, Groups: c.As.groups}
	}
	err = cmd.Start()
	in.Close()
	if err != nil {
		out.end()
		return Result{}, fmt.Errorf("cannot run %s: %w", c.Argv[0], err)
	}
	pid := cmd.Process.Pid
	// The group is killed only while its leader is not reaped: after that its
	// number may be somebody else's.
	var mu sync.Mutex
	reaped := false
	kill := func() {
		mu.Lock()
		defer mu.Unlock()
		if !reaped {
			_ = unix.Kill(-pid, unix.SIGKILL)
		}
	}
	stop := context.AfterFunc(ctx, kill)
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	kill() // whatever it has left behind
	mu.Lock()
	reaped = true
	mu.Unlock()
	err = cmd.Wait()
	stop()
	said := out.end()
	if cmd.ProcessState == nil {
		return Result{}, err
	}
	if e := ctx.Err(); e != nil {
		return Result{}, e
	}
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	res := Result{Output: said}
	if st.Signaled() {
		res.Signal = st.Signal()
	} else {
		res.Code = st.ExitStatus()
	}
	return res, nil
}

// bare takes from this thread the capabilities that an exec would pass on.
//
// For a user other than root those are the ambient and inheritable ones. A
// program that root executes gets what the bounding set allows, whatever the
// thread has (capabilities(7), "Capabilities and execution of programs by
// root"), so that goes too. Where dropping it is not permitted, no_new_privs
// keeps an execve from giving more than the thread has, which is then nothing;
// not with another user to become, for which the thread needs its capabilities
// and after which there are none.
func bare(self bool) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	bounded := unbound()
	if !bounded && self {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		data = [2]unix.CapUserData{}
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	return unix.Capset(&hdr, &data[0])
}

// unbound empties the bounding set, if that is permitted.
func unbound() bool {
	for c := uintptr(0); c < 64; c++ {
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err {
		case nil:
		case unix.EINVAL:
			return true // the kernel knows no more
		default:
			return false
		}
	}
	return true
}
