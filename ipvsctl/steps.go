package ipvsctl

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A pass over thousands of servers takes a while. What changes in its course,
// a server that fails, does not wait for its end: the pass goes in steps, and
// between two of them the changes of single servers overtake what is left.

// StepDumper is a Kernel that dumps in steps.
type StepDumper interface {
	// DumpSteps is Dump. Between two steps it calls between with what was read
	// so far; between may change that, and use the Kernel meanwhile.
	DumpSteps(ctx context.Context, between func(Table)) (Table, error)
}

// stepSize is the number of objects of one step, as many as go in one message.
const stepSize = batchSize

// SetNews has f called between two steps of each pass, from the goroutine of
// the pass. f may change servers in the table of the pass's goal, and what is
// kept of them, and names those that it has changed: they are written at once.
// Those whose service is not in the kernel yet are written in their turn.
func (r *Reconciler) SetNews(f func() []ServerRef) { r.news = f }

// pass is one in course: what it is for and what has come of it.
type pass struct {
	goal   Goal
	plan   plan
	rep    *Report
	at     time.Time
	failed []OpError
}

// overtake writes what has changed meanwhile. It returns the changes that are
// then left of those that were to follow, and calls done for each that it made.
func (r *Reconciler) overtake(ctx context.Context, p *pass, left []Op, done func(Op)) []Op {
	if r.news == nil || !r.known {
		return left
	}
	refs := r.news()
	if len(refs) == 0 {
		return left
	}
	named := make(map[ServerRef]bool, len(refs))
	for _, ref := range refs {
		named[ref] = true
	}
	rest := make([]Op, 0, len(left))
	for _, o := range left {
		switch o.Kind {
		case AddServer, SetServer, DeleteServer:
			ref := ServerRef{o.Service.Key, o.Server.Key}
			if !named[ref] {
				break
			}
			want, wanted := p.goal.Table[ref.Service].Servers[ref.Server]
			if _, there := r.table[ref.Service]; there || !wanted {
				continue
			}
			o.Server.Weight = want.Weight // of a service that comes before it
		case AddService, SetService, DeleteService, StartDaemon, StopDaemon, SetTimeouts:
		}
		rest = append(rest, o)
	}
	urgent := plan{drift: p.plan.drift}
	urgent.ops, _ = r.changed(p.goal, refs)
	r.leaveContended(&urgent, p.at)
	p.plan.drift = urgent.drift
	for _, o := range r.apply(ctx, urgent.ops, p) {
		done(o)
	}
	return rest
}

// apply sends changes and remembers those that were done, which it returns.
func (r *Reconciler) apply(ctx context.Context, ops []Op, p *pass) (done []Op) {
	if len(ops) == 0 {
		return nil
	}
	errs := r.k.Apply(ctx, ops)
	from := len(p.rep.Done)
	for i, o := range ops {
		if i < len(errs) && errs[i] != nil {
			p.failed = append(p.failed, OpError{o, errs[i]})
			continue
		}
		p.rep.Done = append(p.rep.Done, o)
		r.remember(o)
		r.repaired(o, p.plan, p.rep, p.at)
	}
	return p.rep.Done[from:]
}

// step is how many of the changes go in the next one: those of services go one
// by one, and may take long.
func step(ops []Op) int {
	n := 0
	for n < min(len(ops), stepSize) {
		switch ops[n].Kind {
		case AddService, SetService, DeleteService, SetTimeouts:
			return max(n, 1)
		case AddServer, SetServer, DeleteServer, StartDaemon, StopDaemon:
		}
		n++
	}
	return n
}

// changed compares the named servers of services that are in the goal and in
// the kernel; all tells whether that is all of them.
func (r *Reconciler) changed(goal Goal, refs []ServerRef) (ops []Op, all bool) {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b ServerRef) int {
		return cmp.Or(a.Service.Compare(b.Service), a.Server.Compare(b.Server))
	})
	refs = slices.Compact(refs)
	all = true
	for len(refs) > 0 {
		k := refs[0].Service
		var names []ServerKey
		for ; len(refs) > 0 && refs[0].Service == k; refs = refs[1:] {
			names = append(names, refs[0].Server)
		}
		want, wanted := goal.Table[k]
		have, there := r.table[k]
		if !wanted || !there {
			all = false
			continue
		}
		ops = diffServers(ops, canonical(want.Service, k), have, want, goal.Keep[k], names)
	}
	return ops, all
}
