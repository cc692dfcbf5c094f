package health

import (
	"context"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// engine is the driver of a running director. It probes by tcp, http and udp
// itself, without a goroutine, a timer or an allocation per probe.
//
// Sockets of checks that run often (urgent) wake the loop as soon as
// something happens. The others are looked at when the loop is awake anyway,
// and soon after a start: a wake-up costs as much as a part of a probe, and
// so thousands of checks share a few hundred wake-ups a second.
//
//	wait ── alarm epoll ──┬── urgent epoll ── sockets of urgent checks
//	                      ├── event (wake)
//	                      └── timer: next start, deadline, or look at the batch
//	collect ── batch epoll ── all other sockets
//
// The loop waits as any goroutine does, in the runtime's poller, and makes no
// system call that the runtime has to be told of: one that sleeps would make its
// watcher thread (sysmon) come and take the processor away each time, which
// costs several switches of threads a turn.
//
// TCP sockets are used again: a connect to AF_UNSPEC resets the connection and
// leaves the socket as new, in its epoll set, which is cheaper than closing
// it and opening another.
type engine struct {
	runner
	probers func(Spec) Prober
	asked   atomic.Bool // wake was called and not yet noticed

	alarm, urgent, batch int             // epoll descriptors
	loopback             int             // listening socket of the canary, -1 for none
	event, timer         int             // eventfd and timerfd
	poller               *os.File        // alarm as the runtime knows it; owns it
	sleep                syscall.RawConn // of poller
	rang                 func(uintptr) bool

	events   []unix.EpollEvent
	inUrgent int  // probes under way
	ready    bool // the urgent set has events
	inBatch  int
	look     int64 // when to look at the batch again

	conns   []*conn // by slot; free slots are nil
	free    []int32 // free slots
	pools   map[poolKey]*pool
	rush    int64    // until then looks at the batch follow one another quickly
	hinted  []*check // whose held connection has ended
	pending []result // of probes that ended when they started
	buf     []byte
	late    int64 // how late wake-ups were, summed up
	asleep  int64 // until when the loop slept last
}

type result struct {
	c *check
	f *Failure
}

// A look at the batch comes this long after a start (a server nearby has
// answered by then), and after that in steps while answers are missing: a
// failure is noticed at most this late.
const (
	firstLook = 1_000_000
	nextLook  = 2_000_000
)

// urgentTick: checks whose instants are rounded less than this wake the loop.
const urgentTick = 1_000_000

func openDriver(ctx context.Context, clk clock) (driver, error) {
	return newEngine(ctx, clk, proberFor)
}

func newEngine(ctx context.Context, clk clock, probers func(Spec) Prober) (*engine, error) {
	e := &engine{probers: probers, alarm: -1, urgent: -1, batch: -1, event: -1, timer: -1, loopback: -1, pools: map[poolKey]*pool{},
		events: make([]unix.EpollEvent, 256), buf: make([]byte, 16<<10)}
	e.runner.ctx, e.runner.clock, e.runner.wake, e.rang = ctx, clk, e.wake, e.hear
	if err := e.descriptors(); err != nil {
		e.closeAll()
		return nil, err
	}
	return e, nil
}

// What the alarm tells of, in the place of a descriptor.
const (
	alarmUrgent = iota
	alarmEvent
	alarmTimer
	numAlarms
)

func (e *engine) descriptors() (err error) {
	for _, ep := range []*int{&e.alarm, &e.urgent, &e.batch} {
		if *ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return err
		}
	}
	if e.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	if e.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return err
	}
	for what, fd := range [numAlarms]int{alarmUrgent: e.urgent, alarmEvent: e.event, alarmTimer: e.timer} {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(what)}
		if what != alarmUrgent {
			ev.Events |= unix.EPOLLET & 0xffffffff // told once, and never read
		}
		if err = unix.EpollCtl(e.alarm, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return err
		}
	}
	if err = unix.SetNonblock(e.alarm, true); err != nil { // else the runtime does not poll it
		return err
	}
	e.poller = os.NewFile(uintptr(e.alarm), "alarm")
	if err = e.poller.SetReadDeadline(time.Time{}); err != nil { // it does not
		return err
	}
	e.sleep, err = e.poller.SyscallConn()
	return err
}

func (e *engine) until(at int64) int64 {
	if e.inBatch > 0 && (at == 0 || e.look < at) {
		return e.look
	}
	return at
}

func (e *engine) wait(at int64) {
	e.asleep = at
	var limit unix.ItimerSpec // zero stops the timer
	if at != 0 {
		left := at - e.clock.now()
		if left <= 0 {
			return
		}
		limit.Value = unix.NsecToTimespec(left)
	}
	if unix.TimerfdSettime(e.timer, 0, &limit, nil) != nil {
		return // and try again: nothing else would wake it
	}
	_ = e.sleep.Read(e.rang)
}

// hear tells whether the alarm has rung. The runtime's poller asks before it
// sleeps and after.
func (e *engine) hear(uintptr) bool {
	var heard [numAlarms]unix.EpollEvent
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.alarm), uintptr(unsafe.Pointer(&heard)), numAlarms, 0, 0, 0)
	if errno != 0 {
		return true // the loop tries again
	}
	for _, ev := range heard[:n] {
		switch ev.Fd {
		case alarmUrgent:
			e.ready = true
		case alarmEvent:
			e.asked.Store(false) // what is asked for from here on rings again
		}
	}
	return n > 0
}

func (e *engine) wake() {
	if e.asked.Swap(true) {
		return // the loop has one to notice
	}
	one := [8]byte{1}
	_, _ = unix.Write(e.event, one[:])
}

func (e *engine) collect(now int64, done func(*check, *Failure)) {
	if e.asleep != 0 && now > e.asleep {
		e.late += now - e.asleep
		e.asleep = 0
	}
	e.runner.collect(done)
	for i, r := range e.pending {
		e.pending[i] = result{}
		done(r.c, r.f)
	}
	e.pending = e.pending[:0]
	if e.inUrgent > 0 || e.ready {
		e.ready = false
		e.reap(e.urgent, now, done)
	}
	if e.inBatch > 0 {
		e.reap(e.batch, now, done)
		if now >= e.look {
			e.look = now + nextLook
			if now < e.rush {
				e.look = now + rushLook
			}
		}
	}
}

func (e *engine) reap(ep int, now int64, done func(*check, *Failure)) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&e.events[0])), uintptr(len(e.events)), 0, 0, 0)
		if errno != 0 {
			return
		}
		for i := range e.events[:n] {
			ev := &e.events[i]
			cn := e.conns[ev.Fd]
			if cn != nil && cn.held != nil && cn.generation == ev.Pad {
				e.heldEvent(cn, ev.Events, now)
				continue
			}
			// A socket at rest reports that it has no connection; one that was
			// closed may be heard of once more through a child that is about to exec.
			if cn == nil || cn.c == nil || cn.generation != ev.Pad {
				continue
			}
			if f, over := e.advance(cn, ev.Events); over {
				done(e.ended(cn), f)
			}
		}
		// A connection that was taken away makes its socket ready once more; in the
		// urgent set that would end the next wait at once.
		if n == 0 || int(n) < len(e.events) && ep != e.urgent {
			return
		}
	}
}

func (e *engine) start(c *check, now int64) {
	p := c.prep
	if p == nil {
		var f *Failure
		if p, f = e.prepare(c); f != nil {
			e.pending = append(e.pending, result{c, f})
			return
		}
		c.prep = p
	}
	if p.prober != nil {
		e.runner.start(c, p.prober, now)
		return
	}
	cn, f := e.open(p)
	if f != nil {
		e.pending = append(e.pending, result{c, f})
		return
	}
	cn.c, cn.late = c, e.late
	c.run = cn
	if p.urgent {
		e.inUrgent++
	} else {
		first := now + firstLook
		if now < e.rush {
			first = now + rushLook
		}
		if e.inBatch++; e.inBatch == 1 || e.look > first {
			e.look = first
		}
	}
	if f, over := e.launch(cn); over {
		e.pending = append(e.pending, result{e.ended(cn), f})
	}
}

// ended takes the check off its connection.
func (e *engine) ended(cn *conn) *check {
	c := cn.c
	c.run, cn.c = nil, nil
	if cn.pool.key.urgent {
		e.inUrgent--
	} else {
		e.inBatch--
	}
	return c
}

func (e *engine) expire(c *check, _ int64) (*Failure, bool) {
	switch run := c.run.(type) {
	case *task:
		return e.runner.expire(run), false
	case *conn:
		f := e.overdue(run)
		e.ended(run)
		return f, true
	default: // ended when it started, but has not been collected yet
		return failLate, true
	}
}

// canary listens on loopback. Half-open probes never complete the handshake,
// so nothing has to be accepted.
func (e *engine) canary() (Spec, bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Spec{}, false
	}
	e.loopback = fd
	local := [4]byte{127, 0, 0, 1}
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: local}) != nil || unix.Listen(fd, 16) != nil {
		return Spec{}, false
	}
	sa, err := unix.Getsockname(fd)
	in4, ok := sa.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return Spec{}, false
	}
	return Spec{Target: netip.AddrPortFrom(netip.AddrFrom4(local), uint16(in4.Port)), Method: &Method{Type: TCP, Interval: canaryInterval, Timeout: canaryTimeout, Rise: 1, Fall: 1}}, true
}

func (e *engine) cancel(c *check) {
	e.letGo(c)
	switch run := c.run.(type) {
	case *task:
		run.cancel()
	case *conn:
		e.recycle(run)
		e.ended(run)
	}
}

func (e *engine) close() {
	e.runner.close()
	e.closeAll()
}

func (e *engine) closeAll() {
	for _, cn := range e.conns {
		if cn != nil && cn.fd >= 0 {
			closeFD(cn.fd)
		}
	}
	e.conns = nil
	if e.poller != nil {
		_ = e.poller.Close()
		e.alarm = -1
	}
	for _, fd := range []int{e.alarm, e.urgent, e.batch, e.event, e.timer, e.loopback} {
		if fd >= 0 {
			closeFD(fd)
		}
	}
}
