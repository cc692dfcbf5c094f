package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Failed work is tried again after retryMin, then twice as long each time up to retryMax.
const (
	retryMin = 20 * time.Millisecond
	retryMax = time.Second
)

// key tells addresses of a holder apart.
type key struct {
	prefix netip.Prefix
	iface  string
}

// have is what the worker knows of an address it put on a link, or found there.
type have struct {
	address Address
	index   int
	present bool
	foreign bool
	since   time.Time // its lifetime was set then; zero: never by us
	renewAt time.Time
}

// worker carries out the latest wanted state. It belongs to Run's goroutine.
type worker struct {
	h       *Holder
	have    map[key]*have
	order   []key                      // configured addresses, in order
	links   map[string]Interface       // looked up in this turn
	lists   map[int][]InterfaceAddress // read in this turn
	watched map[string]*watching
	fragile map[key]bool // addresses that would vanish with another one

	done     wanted         // what the last turn saw
	foreign  []netip.Prefix // as last reported
	started  bool
	phase    Phase
	err      error
	retryAt  time.Time
	backoff  time.Duration
	sched    schedule
	live     []key // addresses that the schedule numbers
	claims   listeners
	fullWish bool      // rounds asked for wait for the first address
	listenAt time.Time // claims are listened for then, if not before; zero for now
}

// watching is an interface that addresses are on.
type watching struct {
	latest atomic.Pointer[Interface]
	cancel func()
	misled atomic.Bool // see misleads
}

func newWorker(h *Holder) *worker {
	return &worker{
		h: h, have: map[key]*have{}, links: map[string]Interface{}, lists: map[int][]InterfaceAddress{},
		watched: map[string]*watching{}, fragile: map[key]bool{},
	}
}

func (w *worker) close() {
	w.claims.stop()
	for _, x := range w.watched {
		x.cancel()
	}
	if a, ok := w.h.snd.(*announcer); ok {
		a.close()
	}
}

// pass collects what one turn did.
type pass struct {
	now      time.Time
	added    []key
	restored []netip.Prefix
	missing  []netip.Prefix
	renewed  bool
	// announced: the rounds that were asked for have begun.
	announced bool
	errs      []error
}

// turn does what is due and returns when to come again.
func (w *worker) turn(want wanted, now time.Time) (next time.Time, ok bool) {
	reconfigured := !w.started || !sameConfig(want.config, w.done.config)
	shorter := want.config.Lifetime < w.done.config.Lifetime
	ordered := !w.started || want.order != w.done.order
	looked := want.changed != w.done.changed
	valid := want.full+want.quick > want.void
	asked := valid && want.full != w.done.full
	quick := valid && want.quick != w.done.quick
	if want.void != w.done.void {
		w.sched.stop()
		w.fullWish = false
	}
	w.started, w.done = true, want

	if reconfigured {
		w.reconfigure(want.config)
	}
	if shorter { // what was set so far may be due later than the new one ends
		for _, h := range w.have {
			if !h.renewAt.IsZero() {
				h.renewAt = now
			}
		}
	}
	clear(w.links)
	clear(w.lists)
	p := &pass{now: now}
	misled := looked && w.misled()
	switch {
	case want.hold:
		if ordered {
			w.listenAt = now.Add(listenWait)
		}
		if ordered || reconfigured || looked || !now.Before(w.wakeAt()) {
			// A renewal by itself has no reason to doubt what is there: whoever
			// removes an address causes an event.
			doubt := ordered || reconfigured || looked || !w.retryAt.IsZero() && !now.Before(w.retryAt)
			w.hold(p, asked, doubt)
			w.outcome(p, ordered || reconfigured)
		}
		w.announcements(p, asked && !p.announced || misled && w.sched.active, quick)
		w.listen(now)
	case ordered || reconfigured || (w.phase == Dropping && (looked || !now.Before(w.retryAt))):
		w.sched.stop()
		w.fullWish = false
		w.drop(p)
		w.outcome(p, ordered)
		w.claims.follow(w.h, nil)
	}
	if reconfigured || looked {
		w.prepare()
	}
	if reconfigured || looked || ordered || p.renewed {
		w.findFragile()
		w.publish()
	}
	if !slices.Equal(w.foreign, w.findForeign()) {
		w.tell(p)
	}
	return w.nextTurn()
}

func sameConfig(a, b Config) bool {
	return a.Interface == b.Interface && a.Lifetime == b.Lifetime && a.Announce == b.Announce && slices.Equal(a.Addresses, b.Addresses)
}

// reconfigure takes a new list in. Addresses that are no longer in it stay in
// have until they are removed.
func (w *worker) reconfigure(c Config) {
	w.order = w.order[:0]
	ifaces := map[string]bool{}
	for _, a := range c.Addresses {
		if a.Interface == "" {
			a.Interface = c.Interface
		}
		k := key{a.Prefix, a.Interface}
		if slices.Contains(w.order, k) {
			continue
		}
		w.order = append(w.order, k)
		ifaces[a.Interface] = true
		if h := w.have[k]; h != nil {
			h.address = a
		} else {
			w.have[k] = &have{address: a}
		}
	}
	for name := range ifaces {
		if w.watched[name] == nil {
			x := &watching{}
			w.watched[name] = x
			x.cancel = w.h.watch(name, func(in Interface) {
				if before := x.latest.Swap(&in); before != nil && misleads(before, &in) {
					x.misled.Store(true)
				}
				w.h.change(func(x *wanted) { x.changed++ })
			})
		}
	}
	for name, x := range w.watched {
		if !ifaces[name] {
			x.cancel()
			delete(w.watched, name)
		}
	}
}

// hold reads back where there is doubt, puts what is missing on the links,
// renews what is due and removes what is no longer configured.
func (w *worker) hold(p *pass, announceNow, doubt bool) {
	fresh := w.phase == Dropped || w.phase == Dropping
	w.dropSurplus(p)
	if !fresh && doubt {
		w.readBack(p) // something may have removed addresses; find out first
	}
	for _, k := range w.order {
		w.ensure(p, k)
	}
	if fresh && announceNow {
		// Neighbours first: reading back can wait, the outage cannot.
		w.announcements(p, true, false)
		p.announced = true
	}
	// The kernel has acknowledged what was added; its event leads to the next
	// turn, which reads back. Reading a long list first would delay neighbours.
	for _, k := range w.order {
		if !w.have[k].present {
			p.missing = append(p.missing, k.prefix)
		}
	}
}

// link looks an interface up once in a pass.
func (w *worker) link(name string) (Interface, error) {
	if in, ok := w.links[name]; ok {
		if in.Index == 0 {
			return in, fmt.Errorf("interface %s: %w", name, ErrAbsent)
		}
		return in, nil
	}
	in, err := w.h.k.Lookup(name)
	if err == nil || errors.Is(err, ErrAbsent) {
		w.links[name] = in
	}
	if err != nil {
		err = fmt.Errorf("interface %s: %w", name, err)
	}
	return in, err
}

// list reads the addresses of a link once in a turn.
func (w *worker) list(index int) ([]InterfaceAddress, error) {
	if l, ok := w.lists[index]; ok {
		return l, nil
	}
	l, err := w.h.k.List(index)
	if err == nil {
		w.lists[index] = l
	}
	return l, err
}

// ensure makes one address present and its lifetime long.
func (w *worker) ensure(p *pass, k key) {
	h := w.have[k]
	in, err := w.link(k.iface)
	switch {
	case errors.Is(err, ErrAbsent):
		w.strayed(k, 0)
		h.present = false
		p.fail(err)
		return
	case err != nil: // nothing is known, so nothing has changed
		p.fail(err)
		return
	}
	if h.index != in.Index {
		w.strayed(k, in.Index)
		h.index, h.present = in.Index, false
	}
	lifetime := w.done.config.Lifetime
	switch {
	case !h.present:
		was := !h.renewAt.IsZero() || h.foreign
		err := w.h.k.Add(in.Index, h.address, lifetime)
		if errors.Is(err, ErrExists) {
			err = w.adopt(h, in.Index, k, lifetime)
		} else {
			h.foreign = false
		}
		if err != nil {
			p.fail(fmt.Errorf("cannot add %s to %s: %w", k.prefix, k.iface, err))
			return
		}
		h.present = true
		h.since, h.renewAt = p.now, p.now.Add(lifetime/3)
		p.added = append(p.added, k)
		if was {
			p.restored = append(p.restored, k.prefix)
		}
	case !h.foreign && !p.now.Before(h.renewAt):
		if err := w.h.k.Renew(in.Index, h.address, lifetime); err != nil {
			h.renewAt = p.now.Add(lifetime / 12)
			p.fail(fmt.Errorf("cannot renew %s on %s: %w", k.prefix, k.iface, err))
			return
		}
		h.since, h.renewAt = p.now, p.now.Add(lifetime/3)
		p.renewed = true
	}
}

// adopt takes over an address that is there already. What is there for ever
// belongs to somebody else.
func (w *worker) adopt(h *have, index int, k key, lifetime time.Duration) error {
	list, err := w.list(index)
	if err != nil {
		return err
	}
	a, ok := find(list, k.prefix)
	switch {
	case ok && a.Tentative && a.Permanent:
		return errTentative
	case ok && a.Tentative:
		// Only one that is put there anew does without the detection.
		if err := w.h.k.Delete(index, a.Prefix); err != nil && !errors.Is(err, ErrNotThere) {
			return err
		}
		h.foreign = false
		return w.h.k.Add(index, h.address, lifetime)
	case ok && a.Permanent:
		h.foreign = true
		return nil
	}
	h.foreign = false
	return w.h.k.Renew(index, h.address, lifetime)
}

// errTentative: the kernel takes nothing for such an address.
var errTentative = errors.New("it was configured by somebody else, and duplicate address detection has found another owner or has not ended; remove it from the network configuration of this machine")

// readBack compares what should be there with what the kernel has.
func (w *worker) readBack(p *pass) {
	clear(w.lists)
	for _, k := range w.order {
		h := w.have[k]
		in, err := w.link(k.iface)
		if err != nil {
			h.present = h.present && !errors.Is(err, ErrAbsent)
			continue
		}
		list, err := w.list(in.Index)
		if err != nil {
			p.fail(fmt.Errorf("cannot list the addresses of %s: %w", k.iface, err))
			return
		}
		a, found := find(list, k.prefix)
		h.present = h.present && found && !a.Tentative && h.index == in.Index
	}
}

func (p *pass) fail(err error) { p.errs = append(p.errs, err) }

// outcome sets phase and retry and reports.
func (w *worker) outcome(p *pass, force bool) {
	before, beforeErr := w.phase, w.err
	w.err = nil
	if len(p.errs) > 0 {
		w.err = p.errs[0]
	}
	switch {
	case w.done.hold && len(p.missing) == 0:
		w.phase = Held
	case w.done.hold:
		w.phase = Waiting
	case len(p.errs) == 0:
		w.phase = Dropped
	default:
		w.phase = Dropping
	}
	if len(p.errs) > 0 || len(p.missing) > 0 {
		w.backoff = min(max(2*w.backoff, retryMin), retryMax)
		w.retryAt = p.now.Add(w.backoff)
	} else {
		w.backoff, w.retryAt = 0, time.Time{}
	}
	w.publish()
	if !force && w.phase == before && !p.renewed && len(p.restored) == 0 && sameError(w.err, beforeErr) {
		return
	}
	w.tell(p)
}

func (w *worker) tell(p *pass) {
	w.foreign = w.findForeign()
	r := Report{Phase: w.phase, Order: w.done.order, Err: w.err, Missing: p.missing, Restored: p.restored, Foreign: w.foreign}
	if w.done.hold {
		r.Age = w.age(p.now)
	}
	w.h.report(r)
}

// age of the oldest lifetime that we have to renew; below 0 for none.
func (w *worker) age(now time.Time) time.Duration {
	oldest := time.Duration(-1)
	for _, k := range w.order {
		if h := w.have[k]; !h.foreign && !h.since.IsZero() {
			oldest = max(oldest, now.Sub(h.since))
		}
	}
	return oldest
}

// publish makes what is known of each address readable from everywhere.
func (w *worker) publish() {
	w.h.publish(w.done.config, func(s *AddressStatus) {
		k := key{s.Prefix, s.Interface}
		h := w.have[k]
		s.Present, s.Fragile = h != nil && h.present, w.fragile[k]
	})
}

func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Error() == b.Error()
}

// wakeAt is when hold has something to do: a retry or a renewal.
func (w *worker) wakeAt() time.Time {
	t := w.retryAt
	for _, k := range w.order {
		h := w.have[k]
		if h.present && !h.foreign && (t.IsZero() || h.renewAt.Before(t)) {
			t = h.renewAt
		}
	}
	if t.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return t
}

func (w *worker) nextTurn() (time.Time, bool) {
	if !w.done.hold {
		return w.retryAt, w.phase == Dropping
	}
	t := w.wakeAt()
	if !w.listenAt.IsZero() && w.listenAt.Before(t) {
		t = w.listenAt
	}
	if s, ok := w.sched.next(); ok && s.Before(t) {
		t = s
	}
	return t, t.Before(time.Unix(1<<40, 0))
}
