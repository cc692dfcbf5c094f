package speaker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"lvs-ha/vrrp/link"
)

// ErrEnded is returned by calls after Run has ended.
var ErrEnded = errors.New("the speaker has ended")

// realtimeEvery is how often real time is asked for again: it may be permitted
// by now, and a thread that was being made at the first time may have missed it.
const realtimeEvery = 5 * time.Second

// Speaker runs the instances it was configured with.
type Speaker struct {
	o       Options
	loop    *loop
	log     *slog.Logger
	counts  *logCounts
	writer  func(context.Context) // of the log
	out     *outbox
	started time.Time

	running chan struct{} // closed when the loop takes letters
	ended   chan struct{} // closed when Run is about to return
	ctx     context.Context
	wg      sync.WaitGroup

	configuring sync.Mutex
	members     map[string]*member // by name; under configuring
	ports       map[portKey]*port  // under configuring
	journal     *journal           // nil for none

	posture  atomic.Pointer[link.Posture]
	level    atomic.Int32
	realtime atomic.Pointer[string]
}

// New makes a speaker without instances; it starts nothing.
func New(o Options) *Speaker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h, writer := newAsyncHandler(o.Log.Handler())
	s := &Speaker{
		o: o, log: slog.New(h), counts: h.shared, writer: writer, out: newOutbox(), started: time.Now(),
		running: make(chan struct{}), ended: make(chan struct{}),
		members: map[string]*member{}, ports: map[portKey]*port{},
	}
	off := "off"
	s.realtime.Store(&off)
	s.level.Store(-1)
	return s
}

// Run owns the loop; it occupies a thread. It returns nil after Stop has
// released everything, or when ctx ends: then it lets go of nothing in order,
// and the addresses stay until their lifetime ends. Call it once.
func (s *Speaker) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	box, err := newMailbox()
	if err != nil {
		return err
	}
	l := newLoop(box, s.out, s.log)
	if err := l.open(); err != nil {
		return err
	}
	defer l.close()
	if s.o.Journal != "" {
		if s.journal, err = openJournal(s.o.Journal); err != nil {
			s.log.Warn("if this process ends unexpectedly, its successor starts as backup", "event", "journal_failed", "err", err)
		} else {
			defer func() { _ = s.journal.close() }()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	s.loop, s.ctx = l, ctx

	// The log and the outbox outlive everything that writes to them.
	tail, endTail := context.WithCancel(context.WithoutCancel(ctx))
	var tailWG sync.WaitGroup
	tailWG.Go(func() { s.writer(tail) })
	deliver := s.o.OnTransition
	if deliver == nil {
		deliver = func(link.Transition) {}
	}
	tailWG.Go(func() { s.out.run(tail, deliver) })
	defer func() { endTail(); tailWG.Wait() }()

	unhook := context.AfterFunc(ctx, func() { box.post(func() { l.ended = true }) })
	s.wg.Go(func() { s.housekeeping(ctx) })
	l.beat.Store(int64(now()))
	l.arm()
	close(s.running)
	s.takePosture()
	err = l.run()
	close(s.ended)
	unhook()
	cancel()
	s.configuring.Lock() // nobody starts another goroutine after this
	for _, m := range s.members {
		m.cancel()
	}
	for _, p := range s.ports {
		p.stop()
	}
	s.configuring.Unlock()
	s.wg.Wait()
	return err
}

// housekeeping keeps all threads in the real-time class.
func (s *Speaker) housekeeping(ctx context.Context) {
	t := time.NewTicker(realtimeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if level := s.level.Load(); level >= 0 {
				s.setRealtime(int(level))
			}
		}
	}
}

func (s *Speaker) setRealtime(level int) {
	text := realtime(level)
	if old := s.realtime.Swap(&text); *old != text {
		s.log.Info("real-time scheduling", "event", "realtime", "state", text)
	}
	s.level.Store(int32(level))
}

// call has the loop run f and waits for it.
func (s *Speaker) call(ctx context.Context, f func()) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	s.loop.box.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return ErrEnded
	}
}

// ready waits until the loop takes letters.
func (s *Speaker) ready(ctx context.Context) error {
	select {
	case <-s.ended:
		return ErrEnded
	default:
	}
	select {
	case <-s.running:
		return nil
	case <-s.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetPosture takes the director's state; the latest counts. It does not block.
func (s *Speaker) SetPosture(p link.Posture) {
	s.posture.Store(&p)
	select {
	case <-s.running:
		s.loop.box.post(s.takePosture)
	default: // Run looks at it
	}
}

func (s *Speaker) takePosture() {
	if p := s.posture.Load(); p != nil {
		s.loop.takePosture(*p)
	}
}

// Failover has one instance release its addresses in order; the error says
// why that was refused.
func (s *Speaker) Failover(ctx context.Context, f link.Failover) error {
	var refused error
	if err := s.call(ctx, func() { refused = s.loop.failover(f) }); err != nil {
		return err
	}
	return refused
}

// Stop has all instances release their addresses in order and returns when
// they have; then Run returns nil.
func (s *Speaker) Stop(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		if errors.Is(err, ErrEnded) {
			return nil
		}
		return err
	}
	s.loop.box.post(s.loop.stopAll)
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lull returns when nothing is due for the length (up to 400 ms), as far as the
// election can know, or when ctx ends. It is for work that could keep the loop
// from its CPU. One caller at a time.
func (s *Speaker) Lull(ctx context.Context, length time.Duration) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	here := make(chan struct{})
	s.loop.box.post(func() { s.loop.lull = lull{length, here} })
	select {
	case <-here:
		return nil
	case <-ctx.Done():
		s.loop.box.post(func() { s.loop.lull = lull{} })
		return ctx.Err()
	case <-s.ended:
		return ErrEnded
	}
}

// Beat is the time of the last turn of the loop. It turns at least twice a second.
func (s *Speaker) Beat() time.Time {
	select {
	case <-s.running:
		return time.Now().Add(time.Duration(s.loop.beat.Load()) - now())
	default:
		return s.started
	}
}

// Status of the speaker and its instances now.
func (s *Speaker) Status(ctx context.Context) (link.Status, error) {
	if err := s.ready(ctx); err != nil {
		return link.Status{}, err
	}
	s.configuring.Lock()
	n := len(s.members)
	s.configuring.Unlock()
	// The loop only copies into what is made here.
	buf := make([]record, 0, n+4)
	var at time.Duration
	out := link.Status{PID: os.Getpid(), Started: s.started, Realtime: *s.realtime.Load(), Logged: s.logged()}
	err := s.call(ctx, func() {
		at = now()
		buf = s.loop.copyTo(buf)
		out.Lag = s.loop.lag.Snapshot()
	})
	if err != nil {
		return link.Status{}, err
	}
	wall := time.Now()
	for i := range buf {
		out.Instances = append(out.Instances, buf[i].status(at, wall))
	}
	return out, nil
}

func (s *Speaker) logged() map[string]uint64 {
	if s.o.Logged == nil {
		return s.counts.byLevel()
	}
	m := s.o.Logged()
	if m != nil {
		m["dropped"] = s.counts.dropped.Load()
	}
	return m
}
