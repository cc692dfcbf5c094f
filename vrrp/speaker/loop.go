package speaker

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/histogram"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

const (
	// idle is the longest time between two turns of the loop; the watchdog counts on it.
	idle = 500 * time.Millisecond
	// drainLimit bounds the packets read from one socket before timers are
	// looked at: a flood must not keep us from advertising.
	drainLimit = 256
	// Descriptors in epoll that are not ports.
	slotMailbox = -1
	slotTimer   = -2
)

// loop owns everything that the election touches. One thread runs it.
type loop struct {
	box    *mailbox
	timer  *timer
	epoll  int
	events [64]unix.EpollEvent

	ports     []*port // by slot, nil where free
	instances []*instance
	members   []vrrp.Member // of the group that is decided on
	wire      wire
	packet    packet

	planned time.Duration // what the timer is armed for
	lag     *histogram.Histogram
	beat    atomic.Int64
	out     *outbox
	log     *slog.Logger
	posture link.Posture  // as the machines know it
	pending link.Posture  // of a director that is away or not ready again
	unready time.Duration // since when it is; 0 for not
	grace   time.Duration
	leaving bool // stop when the last instance has left
	ended   bool // set by a letter: leave
	lull    lull
}

// lull is what somebody waits for who may disturb only when nothing is due.
type lull struct {
	length time.Duration
	here   chan struct{} // closed when it begins; nil if nobody waits
}

func newLoop(box *mailbox, out *outbox, log *slog.Logger) *loop {
	return &loop{
		box: box, out: out, log: log, epoll: -1,
		lag: histogram.New(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
	}
}

// open makes the descriptors.
func (l *loop) open() error {
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("cannot create an epoll descriptor: %w", err)
	}
	if l.timer, err = newTimer(); err != nil {
		unix.Close(l.epoll)
		return err
	}
	if err = l.listen(l.box.fd, slotMailbox); err == nil {
		err = l.listen(l.timer.fd, slotTimer)
	}
	if err != nil {
		l.close()
	}
	return err
}

func (l *loop) close() {
	for _, p := range l.ports {
		if p != nil {
			closePort(p)
		}
	}
	l.timer.close()
	unix.Close(l.epoll)
}

func (l *loop) listen(fd, slot int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("cannot watch a descriptor: %w", err)
	}
	return nil
}

// run turns until a letter sets ended.
func (l *loop) run() error {
	for !l.ended {
		n, err := l.wait()
		if err != nil {
			return err
		}
		l.turn(l.events[:n])
	}
	return nil
}

// wait sleeps until something is there. It is an ordinary system call as the
// runtime sees it: a raw one would hold up every stop of the world.
func (l *loop) wait() (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])),
			uintptr(len(l.events)), ^uintptr(0), 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, fmt.Errorf("cannot wait for events: %w", errno)
		}
	}
}

// turn does all that is due: packets first, then letters, then timers.
func (l *loop) turn(events []unix.EpollEvent) {
	at := now()
	l.beat.Store(int64(at))
	l.stalled(at)
	letters := false
	for i := range events {
		switch slot := int(events[i].Fd); slot {
		case slotMailbox:
			letters = true
		case slotTimer:
			l.timer.acknowledge()
			if late := at - l.planned; late >= 0 {
				l.lag.Observe(late.Seconds())
			}
		default:
			if slot < len(l.ports) && l.ports[slot] != nil {
				l.drain(l.ports[slot])
			}
		}
	}
	if letters {
		l.box.acknowledge()
		for letter := l.box.take(); letter != nil; letter = letter.next {
			letter.f()
		}
	}
	l.graceOver(at)
	l.fire()
	l.decideGroups()
	l.arm()
	if l.lull.here != nil && l.planned-now() >= l.lull.length {
		close(l.lull.here)
		l.lull.here = nil
	}
}

// stalled tells machines that could not run for longer than a backup would
// have waited, before they hear what came meanwhile.
func (l *loop) stalled(at time.Duration) {
	late := at - l.planned
	if late < 10*time.Millisecond {
		return
	}
	for _, in := range l.instances {
		in.paused(at, late)
		if late > in.machine.MasterDown() {
			in.log.Warn("could not run for longer than the master-down interval", "event", "stalled", "late", late)
			in.step(in.monotone(at), vrrp.Event{Kind: vrrp.EventStalled})
		}
	}
}

// drain reads what a socket has.
func (l *loop) drain(p *port) {
	for range drainLimit {
		if p.fd < 0 {
			return
		}
		err := l.wire.receive(p.fd, p.key.family, &l.packet)
		switch err {
		case nil:
			l.deliver(p, &l.packet)
		case errAgain:
			return
		case errShort:
			continue
		default: // ENETDOWN after the link went: reading clears it
			continue
		}
	}
}

// deliver gives a packet to the instance it is for.
func (l *loop) deliver(p *port, pkt *packet) {
	if len(pkt.payload) < 2 {
		p.unknown++
		return
	}
	in := p.instances[pkt.payload[1]]
	if in == nil {
		p.unknown++ // another group on the same segment
		return
	}
	in.receive(pkt)
}

// fire steps the machines whose time has come. Each at most once in a turn:
// what was missed while we could not run is not made up for.
func (l *loop) fire() {
	for _, in := range l.instances {
		if at := now(); in.due(at) {
			in.tick(at)
		}
	}
	for i := 0; i < len(l.instances); i++ {
		if l.instances[i].finished() {
			l.remove(l.instances[i])
			i--
		}
	}
	if l.leaving && len(l.instances) == 0 {
		l.ended = true
	}
}

// transmit sends one message through a port.
func (l *loop) transmit(p *port, src, dst netip.Addr, m []byte) error {
	return l.wire.send(p.fd, p.iface.Index, src, dst, m)
}

// arm sets the timer to the next deadline.
func (l *loop) arm() {
	next := now() + idle
	for _, in := range l.instances {
		if d, ok := in.deadline(); ok && d < next {
			next = d
		}
	}
	l.planned = next
	l.timer.arm(next)
}

// add takes a new instance in.
func (l *loop) add(in *instance) {
	l.instances = append(l.instances, in)
	in.port.instances[in.spec.Config.VRID] = in
}

// attach gives a new port its slot.
func (l *loop) attach(p *port) {
	for i, q := range l.ports {
		if q == nil {
			p.slot = i
			l.ports[i] = p
			return
		}
	}
	p.slot = len(l.ports)
	l.ports = append(l.ports, p)
}

// remove lets an instance go that has ended.
func (l *loop) remove(in *instance) {
	for i, x := range l.instances {
		if x == in {
			l.instances = append(l.instances[:i], l.instances[i+1:]...)
			break
		}
	}
	p := in.port
	if p.instances[in.spec.Config.VRID] == in {
		p.instances[in.spec.Config.VRID] = nil
	}
	in.end()
}

// detach lets a port go that nobody uses.
func (l *loop) detach(p *port) {
	closePort(p)
	l.ports[p.slot] = nil
}

// changed takes the state of an interface and, if fd is not -1, a new socket.
func (l *loop) changed(p *port, state Interface, fd int, err error) {
	if l.ports[p.slot] != p {
		if fd >= 0 {
			unix.Close(fd)
		}
		return
	}
	if state.Index == 0 || fd >= 0 {
		closePort(p)
	}
	if fd >= 0 {
		if e := l.listen(fd, p.slot); e != nil {
			unix.Close(fd)
			err = e
		} else {
			p.fd = fd
		}
	}
	before := p.iface
	p.iface = state
	switch {
	case err != nil:
		if p.failed != err.Error() { // it is tried again and again
			l.log.Warn("cannot open the VRRP socket, trying again", "event", "socket_failed", "interface", p.key.iface, "err", err)
		}
	case state.Index == 0 && (before.Index != 0 || before.Name == ""):
		l.log.Warn("the interface is absent, waiting for it", "event", "interface_absent", "interface", p.key.iface)
	}
	if p.failed = ""; err != nil {
		p.failed = err.Error()
	}
	for _, in := range l.instances {
		if in.port == p {
			in.interfaceChanged()
		}
	}
}

// isVirtual tells whether an address belongs to one of our instances.
func (l *loop) isVirtual(a netip.Addr) bool {
	for _, in := range l.instances {
		for i := range in.spec.Addresses {
			if in.spec.Addresses[i].Prefix.Addr() == a {
				return true
			}
		}
		for i := range in.spec.Excluded {
			if in.spec.Excluded[i].Prefix.Addr() == a {
				return true
			}
		}
	}
	return false
}
