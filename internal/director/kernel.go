package director

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"lvs-ha/ipvsctl"
)

// kernelRetry is the pause after a pass that failed.
const kernelRetry = time.Second

// kernelTimeout bounds one pass. A table of 10 000 servers is written in well under a second.
const kernelTimeout = 20 * time.Second

// kernelWorker owns the IPVS handle. It makes the latest goal true: at once
// when there is a new one, and in a full comparison each interval.
type kernelWorker struct {
	kernel ipvsctl.Kernel
	rec    *ipvsctl.Reconciler
	log    *slog.Logger
	report func(kernelResult) // must not block

	// Of the goroutine that writes: the goal, and since the latest pass began
	// the servers in which it has changed, or that anything may have.
	goal  *ipvsctl.Goal
	refs  []ipvsctl.ServerRef
	whole bool

	mu       sync.Mutex
	next     goalNews
	seq      uint64
	interval time.Duration
	paused   bool // look, but change nothing
	wake     chan struct{}
	began    chan struct{} // closed after the first pass
}

// kernelResult of one pass.
type kernelResult struct {
	seq    uint64 // of the goal that the pass was for
	full   bool
	paused bool // nothing was to be changed
	report ipvsctl.Report
	err    error
	at     time.Time
}

func newKernelWorker(k ipvsctl.Kernel, log *slog.Logger, report func(kernelResult)) *kernelWorker {
	w := &kernelWorker{
		kernel: k, rec: ipvsctl.NewReconciler(k, log), log: log, report: report,
		interval: 10 * time.Second, wake: make(chan struct{}, 1), began: make(chan struct{}),
	}
	w.rec.SetNews(w.meanwhile)
	return w
}

// goalNews is what the worker has to take over into its goal: another one, nil
// for none, and after that changes of it.
type goalNews struct {
	goal    *ipvsctl.Goal
	servers []serverChange
	daemons []ipvsctl.Daemon
	manage  bool
}

// setGoal replaces the goal and tells its number. The goal's maps are the
// worker's from now on.
func (w *kernelWorker) setGoal(g ipvsctl.Goal) uint64 {
	w.mu.Lock()
	w.next = goalNews{goal: &g, daemons: g.Daemons, manage: g.ManageDaemons}
	w.seq++
	seq := w.seq
	w.mu.Unlock()
	w.kick()
	return seq
}

// change changes the goal in some servers and the sync daemons, and tells its
// number, which stays where nothing changes.
func (w *kernelWorker) change(servers []serverChange, manage bool, daemons []ipvsctl.Daemon) uint64 {
	w.mu.Lock()
	n := &w.next
	if len(servers) == 0 && n.manage == manage && slices.Equal(n.daemons, daemons) {
		defer w.mu.Unlock()
		return w.seq
	}
	n.servers = append(n.servers, servers...)
	n.manage, n.daemons = manage, daemons
	w.seq++
	seq := w.seq
	w.mu.Unlock()
	w.kick()
	return seq
}

// take takes the news over. The lock is held.
func (w *kernelWorker) take() {
	n := &w.next
	if n.goal != nil {
		w.goal, w.whole, w.refs = n.goal, true, nil
	}
	if w.goal == nil {
		return
	}
	for i := range n.servers {
		c := &n.servers[i]
		k := c.server.Key
		if c.there {
			w.goal.Table[c.service].Servers[k] = c.server
		} else {
			delete(w.goal.Table[c.service].Servers, k)
		}
		keep(w.goal, c.service, k, c.keep)
		w.refs = append(w.refs, ipvsctl.ServerRef{Service: c.service, Server: k})
	}
	w.goal.ManageDaemons, w.goal.Daemons = n.manage, n.daemons
	n.goal, n.servers = nil, nil
}

// meanwhile takes over which servers have changed in the course of a pass: a
// server that fails does not wait for its end. Another goal does.
func (w *kernelWorker) meanwhile() []ipvsctl.ServerRef {
	runtime.Gosched() // the pass never rests: where there is one processor nobody else would decide
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paused || w.next.goal != nil || len(w.next.servers) == 0 {
		return nil
	}
	from := len(w.refs)
	w.take()
	return w.refs[from:]
}

func (w *kernelWorker) setInterval(d time.Duration) {
	w.mu.Lock()
	changed := w.interval != d
	w.interval = d
	w.mu.Unlock()
	if changed {
		w.kick()
	}
}

// setPaused stops or starts again all changes of the kernel.
func (w *kernelWorker) setPaused(p bool) {
	w.mu.Lock()
	changed := w.paused != p
	w.paused = p
	w.mu.Unlock()
	if changed {
		w.kick()
	}
}

func (w *kernelWorker) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *kernelWorker) run(ctx context.Context) {
	var done uint64 // number of the goal that the latest good pass was for
	var nextFull time.Time
	var frozen bool // the latest pass was in a pause
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.mu.Lock()
		w.take()
		seq, interval, paused := w.seq, w.interval, w.paused
		w.mu.Unlock()
		if w.goal != nil {
			now := time.Now()
			if limit := now.Add(interval); nextFull.After(limit) { // the interval became shorter
				nextFull = limit
			}
			// What happened in a pause is not known: compare all.
			full := !now.Before(nextFull) || paused != frozen
			if full || seq != done {
				var res kernelResult
				if paused {
					res = w.look(ctx)
				} else {
					res = w.pass(ctx, full)
				}
				frozen, res.seq = paused, seq
				if ctx.Err() != nil {
					return
				}
				switch {
				case res.err != nil || len(res.report.Failed) > 0:
					// The next pass reads everything again before it writes.
					nextFull = res.at.Add(min(kernelRetry, interval))
				case full:
					nextFull = res.at.Add(interval)
				}
				// A failed pass is repeated by the full one, not at once.
				if done == 0 {
					close(w.began)
				}
				done = seq
				w.report(res)
			}
			timer.Reset(time.Until(nextFull))
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// look reads the kernel in a pause.
func (w *kernelWorker) look(ctx context.Context) kernelResult {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	res := kernelResult{full: true, paused: true}
	if res.report.Table, res.err = w.kernel.Dump(ctx); res.err == nil {
		res.report.Daemons, res.err = w.kernel.Daemons(ctx)
	}
	res.at = time.Now()
	return res
}

func (w *kernelWorker) pass(ctx context.Context, full bool) kernelResult {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	res := kernelResult{full: full}
	refs, whole := w.refs, w.whole
	w.refs, w.whole = nil, false // what is taken over in the course of the pass is looked at again
	switch {
	case full:
		res.report, res.err = w.rec.Full(ctx, *w.goal)
	case whole:
		res.report, res.err = w.rec.Quick(ctx, *w.goal)
	default:
		res.report, res.err = w.rec.QuickServers(ctx, *w.goal, refs)
	}
	res.at = time.Now()
	if res.err != nil && !errors.Is(res.err, context.Canceled) {
		w.log.Error("kernel IPVS table cannot be compared, trying again", "event", "reconcile_failed", "err", res.err)
	}
	for _, f := range res.report.Failed {
		w.log.Error("kernel refused a change of the IPVS table, trying again", "event", "ipvs_refused", "op", f.Op.String(), "err", f.Err)
	}
	return res
}
