package ipvsctl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ServiceReader is a Kernel that can read one service again. ESRCH if there is none.
type ServiceReader interface {
	ReadService(ctx context.Context, k ServiceKey) (Entry, error)
}

// ServerRef names a server within its service.
type ServerRef struct {
	Service ServiceKey
	Server  ServerKey
}

// Reconciler makes goals true in one kernel. It remembers what it left there.
// One goroutine uses it at a time.
type Reconciler struct {
	k   Kernel
	log *slog.Logger

	// What we believe the kernel to hold. known is false before the first pass
	// and after an error that leaves it in doubt; adopted is true from the
	// first complete pass on: only then a difference can be somebody else's.
	known, adopted bool
	table          Table
	daemons        []Daemon
	timeouts       Timeouts
	unmanaged      int
	// The server maps are handed out in reports and then never changed again;
	// ours names the services whose are not handed out.
	ours map[ServiceKey]bool

	contention contention
	news       func() []ServerRef // nil: nothing changes in the course of a pass
}

// NewReconciler starts nothing. The first pass adopts what the kernel holds:
// its differences are changes, not drift.
func NewReconciler(k Kernel, log *slog.Logger) *Reconciler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Reconciler{k: k, log: log, contention: newContention(3, time.Minute, time.Minute)}
}

// SetContention says when the repair of an object that somebody keeps changing
// is put off: after repairs of them within a time it stands for backoff. 0
// repairs never put it off. The default is 3 within a minute, for a minute.
func (r *Reconciler) SetContention(repairs int, within, backoff time.Duration) {
	r.contention = newContention(repairs, within, backoff)
}

// reads is what one pass found in the kernel.
type reads struct {
	table    Table
	daemons  []Daemon
	timeouts Timeouts
}

// Full reads the kernel, tells drift from changes, and makes the goal true. An
// error means that the kernel could not be read or that nothing more could be
// sent; changes that the kernel refused are in the report, not in the error.
func (r *Reconciler) Full(ctx context.Context, goal Goal) (Report, error) {
	start := time.Now()
	var rep Report
	err := r.full(ctx, goal, &rep, start)
	r.finish(&rep, start)
	return rep, err
}

// rounds that one full pass may take when the kernel's answers show that what
// was read is not what is there.
const rounds = 3

func (r *Reconciler) full(ctx context.Context, goal Goal, rep *Report, now time.Time) error {
	for round := 1; ; round++ {
		have, err := r.read(ctx, &pass{goal: goal, rep: rep, at: now})
		if err != nil {
			r.known = false
			return err
		}
		p := r.plan(have, goal, now)
		if p.drift != nil && round < rounds {
			// A dump is right only while nobody writes. Look again at what
			// differs from what we left before anything is repaired or deleted.
			again, err := r.readAgain(ctx, have.table, p)
			if err != nil {
				r.known = false
				return err
			}
			if again {
				p = r.plan(have, goal, now)
			}
		}
		r.believe(have, rep)
		failed, err := r.send(ctx, &pass{goal: goal, plan: p, rep: rep, at: now})
		if err != nil {
			r.known = false
			return err
		}
		r.count(goal)
		retry := round < rounds && slices.ContainsFunc(failed, disagrees)
		if !retry {
			rep.Failed = append(rep.Failed, failed...)
			r.known = !slices.ContainsFunc(failed, disagrees)
			r.adopted = true
			return nil
		}
		r.log.Debug("kernel IPVS table is not as it was read, reading it again", "event", "ipvs_reread", "op", failed[0].Op.String(), "err", failed[0].Err)
	}
}

// Quick makes the goal true on the table as we believe it to be, without
// reading the kernel. It is a full pass where nothing is known, or if the
// kernel's answers show that the belief is wrong.
func (r *Reconciler) Quick(ctx context.Context, goal Goal) (Report, error) {
	if !r.known {
		return r.Full(ctx, goal)
	}
	start := time.Now()
	have := reads{r.table, r.daemons, r.timeouts}
	p := plan{ops: Diff(have.table, goal)}
	p.before, p.after = DiffDaemons(have.daemons, goal)
	p.after = append(p.after, DiffTimeouts(have.timeouts, goal.Timeouts)...)
	r.leaveContended(&p, start)
	r.count(goal)
	var rep Report
	err := r.quick(ctx, goal, p, &rep, start)
	r.finish(&rep, start)
	return rep, err
}

// QuickServers is Quick for a goal that differs from the previous one in the
// named servers, the sync daemons and the timeouts only: it looks at nothing
// else. Table is nil in its report unless it had to be a full pass.
func (r *Reconciler) QuickServers(ctx context.Context, goal Goal, changed []ServerRef) (Report, error) {
	if !r.known {
		return r.Full(ctx, goal)
	}
	start := time.Now()
	var p plan
	var all bool
	if p.ops, all = r.changed(goal, changed); !all {
		return r.Quick(ctx, goal)
	}
	p.before, p.after = DiffDaemons(r.daemons, goal)
	p.after = append(p.after, DiffTimeouts(r.timeouts, goal.Timeouts)...)
	r.leaveContended(&p, start)
	var rep Report
	err := r.quick(ctx, goal, p, &rep, start)
	rep.Unmanaged, rep.Daemons = r.unmanaged, r.daemons
	if rep.Table != nil { // it was a full pass
		r.finish(&rep, start)
	}
	rep.Contended = r.contention.standing(start)
	rep.Took = time.Since(start)
	return rep, err
}

func (r *Reconciler) quick(ctx context.Context, goal Goal, p plan, rep *Report, now time.Time) error {
	failed, err := r.send(ctx, &pass{goal: goal, plan: p, rep: rep, at: now})
	if err != nil {
		r.known = false
		return err
	}
	if slices.ContainsFunc(failed, disagrees) {
		rep.Table = r.table
		return r.full(ctx, goal, rep, now)
	}
	rep.Failed = append(rep.Failed, failed...)
	return nil
}

// disagrees says that the kernel holds something else than we thought.
func disagrees(e OpError) bool {
	switch e.Op.Kind {
	case AddService, SetService:
		// ENOENT is an unknown scheduler.
		return errors.Is(e.Err, unix.EEXIST) || errors.Is(e.Err, unix.ESRCH)
	case StartDaemon, DeleteService, AddServer, SetServer, DeleteServer, StopDaemon:
		return errors.Is(e.Err, unix.EEXIST) || errors.Is(e.Err, unix.ESRCH) || errors.Is(e.Err, unix.ENOENT)
	case SetTimeouts:
	}
	return false
}

func (r *Reconciler) read(ctx context.Context, p *pass) (reads, error) {
	var have reads
	var err error
	if d, ok := r.k.(StepDumper); ok && r.news != nil {
		have.table, err = d.DumpSteps(ctx, func(t Table) {
			// A refusal counts when the pass has come to what is there.
			p.failed = nil
			r.overtake(ctx, p, nil, t.Patch)
		})
	} else {
		have.table, err = r.k.Dump(ctx)
	}
	if err != nil {
		return have, fmt.Errorf("cannot read the IPVS table: %w", err)
	}
	if have.table == nil {
		have.table = Table{}
	}
	if have.daemons, err = r.k.Daemons(ctx); err != nil {
		return have, fmt.Errorf("cannot read the sync daemons: %w", err)
	}
	if p.goal.Timeouts != (Timeouts{}) {
		if have.timeouts, err = r.k.Timeouts(ctx); err != nil {
			return have, fmt.Errorf("cannot read the IPVS timeouts: %w", err)
		}
	}
	return have, nil
}

// readAgain reads once more the services in which the plan repairs something,
// and tells whether anything was read.
func (r *Reconciler) readAgain(ctx context.Context, t Table, p plan) (bool, error) {
	sr, ok := r.k.(ServiceReader)
	if !ok {
		return false, nil
	}
	seen := make(map[ServiceKey]bool)
	for _, o := range p.ops {
		k := o.Service.Key
		if seen[k] || p.drift[refOf(o)].Kind == "" {
			continue
		}
		seen[k] = true
		e, err := sr.ReadService(ctx, k)
		switch {
		case errors.Is(err, unix.ESRCH):
			delete(t, k)
		case err != nil:
			return false, fmt.Errorf("cannot read service %v again: %w", k, err)
		default:
			t[k] = e
		}
	}
	return len(seen) > 0, nil
}

// believe takes what was read as what is there.
func (r *Reconciler) believe(have reads, rep *Report) {
	for k, e := range have.table {
		if was, ok := r.table[k]; !ok || was.Service != e.Service || !maps.Equal(was.Servers, e.Servers) {
			rep.Changed = append(rep.Changed, k)
		}
	}
	for k := range r.table {
		if _, ok := have.table[k]; !ok {
			rep.Changed = append(rep.Changed, k)
		}
	}
	r.table, r.daemons, r.timeouts = have.table, have.daemons, have.timeouts
	r.known = true
	// A fresh table is all ours: nobody has seen it.
	r.ours = make(map[ServiceKey]bool, len(r.table))
	for k := range r.table {
		r.ours[k] = true
	}
}

// send sends a plan and remembers what was done. Its error is one that is no
// answer to a single change; what was done before is in the report.
func (r *Reconciler) send(ctx context.Context, p *pass) (failed []OpError, err error) {
	for _, ops := range [][]Op{p.plan.before, p.plan.ops, p.plan.after} {
		for len(ops) > 0 {
			if err := ctx.Err(); err != nil {
				return p.failed, err
			}
			n := step(ops)
			r.apply(ctx, ops[:n], p)
			ops = ops[n:]
			if lost := p.lost(); lost != nil {
				for _, o := range ops {
					p.failed = append(p.failed, OpError{o, lost})
				}
				break
			}
			if len(ops) > 0 {
				ops = r.overtake(ctx, p, ops, func(Op) {})
			}
		}
	}
	if lost := p.lost(); lost != nil {
		p.rep.Failed = append(p.rep.Failed, p.failed...)
		return nil, fmt.Errorf("cannot write the IPVS table: %w", lost)
	}
	return p.failed, nil
}

// lost is an error that is no answer of the kernel, nil if all were answered.
func (p *pass) lost() error {
	for _, f := range p.failed {
		if !isAnswer(f.Err) {
			return f.Err
		}
	}
	return nil
}

// isAnswer tells an errno of the kernel from trouble on the way to it.
func isAnswer(err error) bool {
	var no unix.Errno
	return errors.As(err, &no) && !errors.Is(err, ErrTransport) && !errors.Is(err, ErrPermission) && !errors.Is(err, ErrNoIPVS)
}

// remember makes the belief follow a change that was done. Maps that a report
// holds are copied first.
func (r *Reconciler) remember(o Op) {
	switch o.Kind {
	case StartDaemon, StopDaemon:
		r.daemons = patchDaemons(r.daemons, o)
		return
	case SetTimeouts:
		r.timeouts = patchTimeouts(r.timeouts, o)
		return
	case AddService, SetService, DeleteService, AddServer, SetServer, DeleteServer:
	}
	if r.table == nil {
		r.table = Table{}
	}
	k := o.Service.Key
	if e, ok := r.table[k]; ok && !r.ours[k] && o.Kind != DeleteService {
		r.table[k] = e.Clone()
	}
	r.ours[k] = true
	r.table.Patch(o)
}

func (r *Reconciler) count(goal Goal) {
	r.unmanaged = 0
	for k := range r.table {
		if _, ok := goal.Table[k]; !ok && !goal.Owned[k] {
			r.unmanaged++
		}
	}
}

// finish hands the belief out in the report.
func (r *Reconciler) finish(rep *Report, start time.Time) {
	rep.Table, rep.Daemons, rep.Unmanaged = maps.Clone(r.table), r.daemons, r.unmanaged
	r.ours = make(map[ServiceKey]bool)
	rep.Contended = r.contention.standing(start)
	rep.Took = time.Since(start)
}
