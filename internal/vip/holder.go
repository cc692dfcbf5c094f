package vip

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Config of a holder. Slices are not changed after they were handed over.
type Config struct {
	// Interface of addresses that name none.
	Interface string
	Addresses []Address
	// Lifetime of a held address that nobody renews, at least 3 s.
	Lifetime time.Duration
	Announce Plan
}

// Phase of a holder.
type Phase uint8

const (
	// Dropped: none of our addresses is on its link.
	Dropped Phase = iota
	// Waiting: some address could not be put on its link yet; it is tried again.
	Waiting
	// Held: all addresses are on their links.
	Held
	// Dropping: some address could not be removed yet; it is tried again.
	Dropping
)

var phaseNames = [...]string{"dropped", "waiting", "held", "dropping"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

// Report tells how it stands. One is sent when an order was carried out, when
// the outcome changes, and at each renewal.
type Report struct {
	Phase Phase
	// Order is the number of Hold and Drop orders that the report takes in.
	Order uint64
	Err   error // why Waiting or Dropping
	// Missing addresses, while Waiting.
	Missing []netip.Prefix
	// Restored addresses: something had removed them and they are back.
	Restored []netip.Prefix
	// Foreign addresses were on their link for ever before us. They are used
	// as they are: no lifetime, not removed.
	Foreign []netip.Prefix
	// Age of the oldest lifetime among the addresses that are ours, while they
	// are wanted: how long ago it was set. Below 0 if all of them are Foreign.
	Age time.Duration
}

// AddressStatus of one address.
type AddressStatus struct {
	Prefix    netip.Prefix
	Interface string
	Present   bool // as last read back
	// Fragile: it shares its subnet with other addresses of the interface, and
	// the kernel removes all of them when the first one is deleted, because
	// promote_secondaries is 0.
	Fragile bool
}

// Counters of a holder.
type Counters struct {
	ARP, NA, Errors uint64
}

// Holder keeps the addresses of one instance. Its orders never block; Run
// carries them out.
type Holder struct {
	k      kernel
	snd    sender
	watch  func(name string, f func(Interface)) (cancel func())
	report func(Report)
	claim  func(a netip.Addr, iface string, mac net.HardwareAddr)
	log    *slog.Logger
	// promotes reads the setting of an interface.
	promotes func(iface string) bool

	wanted atomic.Pointer[wanted] // replaced as a whole: orders take no lock
	wake   chan struct{}

	status         atomic.Pointer[[]AddressStatus]
	arp, na, fails atomic.Uint64
}

// wanted is the latest-value cell between orders and worker.
type wanted struct {
	config  Config
	hold    bool
	order   uint64 // counts Hold and Drop
	full    uint64 // counts requests for all rounds
	quick   uint64 // counts requests for a single sweep
	void    uint64 // requests up to full+quick of this are void; see Quiet
	changed uint64 // counts changes of links and addresses
}

// NewHolder makes a holder that wants its addresses dropped: the first thing
// Run does is to remove those that an earlier run left behind. report is
// called from Run's goroutine and must not block.
func (m *Monitor) NewHolder(c Config, log *slog.Logger, report func(Report)) *Holder {
	return newHolder(m.k, &announcer{}, m.Watch, c, log, report)
}

func newHolder(k kernel, s sender, watch func(string, func(Interface)) func(), c Config, log *slog.Logger, report func(Report)) *Holder {
	h := &Holder{k: k, snd: s, watch: watch, report: report, log: log, promotes: promotes, wake: make(chan struct{}, 1)}
	h.wanted.Store(&wanted{config: c})
	h.publish(c, nil)
	return h
}

func (h *Holder) change(f func(*wanted)) {
	for {
		old := h.wanted.Load()
		next := *old
		f(&next)
		if h.wanted.CompareAndSwap(old, &next) {
			break
		}
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Hold puts the addresses on their links and keeps them there. It returns the
// number of the order, for Report.Order.
func (h *Holder) Hold() (order uint64) {
	h.change(func(w *wanted) { w.hold = true; w.order++; order = w.order })
	return order
}

// Drop removes the addresses, and ends announcing.
func (h *Holder) Drop() (order uint64) {
	h.change(func(w *wanted) { w.hold = false; w.order++; order = w.order })
	return order
}

// Announce tells the neighbours: all rounds if full, else one frame for each
// address. What is not on its link yet is announced as soon as it is.
func (h *Holder) Announce(full bool) {
	h.change(func(w *wanted) {
		if full {
			w.full++
		} else {
			w.quick++
		}
	})
}

// Quiet ends announcing, rounds that are under way included, while the
// addresses stay: somebody else has them now, or is about to, and a late frame
// of ours would mislead neighbours. The next Announce begins anew.
func (h *Holder) Quiet() { h.change(func(w *wanted) { w.void = w.full + w.quick }) }

// Reconfigure changes what is held; while holding, the difference is added,
// announced and removed.
func (h *Holder) Reconfigure(c Config) { h.change(func(w *wanted) { w.config = c }) }

// OnClaim has f called whenever another station claims one of the addresses
// while they are held, at most each claimSpacing for one address. f must not
// block. Call it before Run.
func (h *Holder) OnClaim(f func(a netip.Addr, iface string, mac net.HardwareAddr)) { h.claim = f }

// Status of each configured address as last read back.
func (h *Holder) Status() []AddressStatus { return slices.Clone(*h.status.Load()) }

// Counters since the holder was made.
func (h *Holder) Counters() Counters {
	return Counters{ARP: h.arp.Load(), NA: h.na.Load(), Errors: h.fails.Load()}
}

// turnPause is the least time between two turns that nobody asked for.
const turnPause = time.Millisecond

// Run carries orders out until ctx ends. It leaves the addresses as they are:
// Drop and wait for the report first, if they have to go.
func (h *Holder) Run(ctx context.Context) error {
	w := newWorker(h)
	defer w.close()
	for {
		next, ok := w.turn(*h.wanted.Load(), time.Now())
		var alarm <-chan time.Time
		var timer *time.Timer
		if ok {
			timer = time.NewTimer(max(time.Until(next), turnPause))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
		case <-h.wake:
		case <-alarm:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// publish makes the outcome readable from everywhere.
func (h *Holder) publish(c Config, fill func(*AddressStatus)) {
	list := make([]AddressStatus, len(c.Addresses))
	for i, a := range c.Addresses {
		if a.Interface == "" {
			a.Interface = c.Interface
		}
		list[i] = AddressStatus{Prefix: a.Prefix, Interface: a.Interface}
		if fill != nil {
			fill(&list[i])
		}
	}
	h.status.Store(&list)
}
