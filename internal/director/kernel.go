package director

import (
	"context"
	"errors"
	"log/slog"
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

	mu       sync.Mutex
	goal     *ipvsctl.Goal // latest, nil before the first
	seq      uint64
	interval time.Duration
	paused   bool // look, but change nothing
	wake     chan struct{}
	stats    chan statsRequest
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

type statsRequest struct {
	ctx    context.Context
	answer chan statsAnswer
}

type statsAnswer struct {
	stats map[ipvsctl.ServiceKey]ipvsctl.EntryStats
	err   error
}

func newKernelWorker(k ipvsctl.Kernel, log *slog.Logger, report func(kernelResult)) *kernelWorker {
	return &kernelWorker{
		kernel: k, rec: ipvsctl.NewReconciler(k, log), log: log, report: report,
		interval: 10 * time.Second, wake: make(chan struct{}, 1), stats: make(chan statsRequest),
	}
}

// setGoal replaces the goal and tells its number.
func (w *kernelWorker) setGoal(g ipvsctl.Goal) uint64 {
	w.mu.Lock()
	w.goal = &g
	w.seq++
	seq := w.seq
	w.mu.Unlock()
	w.kick()
	return seq
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

// readStats asks for the kernel's counters between two passes.
func (w *kernelWorker) readStats(ctx context.Context) (map[ipvsctl.ServiceKey]ipvsctl.EntryStats, error) {
	r := statsRequest{ctx: ctx, answer: make(chan statsAnswer, 1)}
	select {
	case w.stats <- r:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-r.answer:
		return a.stats, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
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
		goal, seq, interval, paused := w.goal, w.seq, w.interval, w.paused
		w.mu.Unlock()
		if goal != nil {
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
					res = w.pass(ctx, *goal, full)
				}
				frozen = paused
				res.seq = seq
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
		case r := <-w.stats:
			s, err := w.kernel.Stats(r.ctx)
			r.answer <- statsAnswer{s, err}
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

func (w *kernelWorker) pass(ctx context.Context, g ipvsctl.Goal, full bool) kernelResult {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	res := kernelResult{full: full}
	if full {
		res.report, res.err = w.rec.Full(ctx, g)
	} else {
		res.report, res.err = w.rec.Quick(ctx, g)
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
