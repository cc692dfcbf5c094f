package speaker

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// now is the time since boot, time asleep included: after a machine or a
// virtual machine was suspended the election must know that time has passed.
func now() time.Duration {
	var ts unix.Timespec
	// A raw call: it never blocks, so the scheduler need not hear of it.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

// realNow is the wall clock in nanoseconds, which the kernel stamps packets with.
func realNow() int64 {
	var ts unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// timer is a timerfd with absolute expiry. The runtime's timers are rounded up
// to whole milliseconds by its epoll_wait; this one is exact.
type timer struct {
	fd    int
	armed time.Duration
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create a timer: %w", err)
	}
	return &timer{fd: fd}, nil
}

// arm sets the expiry; what has passed already expires at once.
func (t *timer) arm(at time.Duration) {
	if at == t.armed {
		return
	}
	t.armed = at
	ns := max(int64(at), 1) // zero would disarm
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(ns)}
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(t.fd), unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

// acknowledge makes the descriptor quiet after an expiry.
func (t *timer) acknowledge() {
	var buf [8]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(t.fd), uintptr(unsafe.Pointer(&buf[0])), 8)
	t.armed = 0
}

func (t *timer) close() { unix.Close(t.fd) }
