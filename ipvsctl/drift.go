package ipvsctl

import (
	"fmt"
	"slices"
	"time"
)

// Kinds of Drift.
const (
	DriftMissingService = "missing_service"
	DriftExtraService   = "extra_service" // one that we had deleted, or must not be there
	DriftMissingServer  = "missing_server"
	DriftExtraServer    = "extra_server"
	DriftWeight         = "weight"
	DriftOptions        = "options" // of a service, a server, or the timeouts
	DriftDaemon         = "daemon"
)

// DriftKinds lists all, in a fixed order.
var DriftKinds = []string{DriftMissingService, DriftExtraService, DriftMissingServer, DriftExtraServer, DriftWeight, DriftOptions, DriftDaemon}

// plan is the changes of one pass, in the order of sending, with those that
// repair what somebody else did.
type plan struct {
	before, ops, after []Op
	drift              map[object]Drift
	unmanaged          map[ServiceKey]int // services that go because the goal is exclusive, numbered
}

// object is what an operation works on, and what is counted for contention.
type object struct {
	service ServiceKey
	server  ServerKey
	role    Role // of a daemon
}

func refOf(o Op) object {
	switch o.Kind {
	case AddServer, SetServer, DeleteServer:
		return object{service: o.Service.Key, server: o.Server.Key}
	case StartDaemon, StopDaemon:
		return object{role: o.Daemon.Role}
	case AddService, SetService, DeleteService, SetTimeouts:
	}
	return object{service: o.Service.Key}
}

// plan compares and tells drift: a change is a repair if the object in the
// kernel is not what we left there.
func (r *Reconciler) plan(have reads, goal Goal, now time.Time) plan {
	p := plan{ops: Diff(have.table, goal)}
	p.before, p.after = DiffDaemons(have.daemons, goal)
	p.after = append(p.after, DiffTimeouts(have.timeouts, goal.Timeouts)...)
	if r.adopted {
		// Not in the first pass: ours are in place before others go.
		for i, o := range DiffUnmanaged(have.table, goal) {
			if i == 0 {
				p.unmanaged = make(map[ServiceKey]int)
			}
			p.unmanaged[o.Service.Key] = i + 1
			p.ops = append(p.ops, o)
		}
		// The daemons' before and after may name one object twice (stop, start).
		for _, ops := range [][]Op{p.before, p.ops, p.after} {
			for _, o := range ops {
				if d, ok := r.drift(o, have); ok {
					p.note(o, d)
				}
			}
		}
	}
	r.leaveContended(&p, now)
	return p
}

func (p *plan) note(o Op, d Drift) {
	if p.drift == nil {
		p.drift = make(map[object]Drift)
	}
	if _, ok := p.drift[refOf(o)]; !ok {
		p.drift[refOf(o)] = d
	}
}

// leaveContended takes the changes out that are held back for now.
func (r *Reconciler) leaveContended(p *plan, now time.Time) {
	if len(r.contention.objects) == 0 {
		return
	}
	// One repair may be several changes: the last one is the wish.
	wish := make(map[object]Op)
	for _, ops := range [][]Op{p.before, p.ops, p.after} {
		for _, o := range ops {
			if ref := refOf(o); r.contention.objects[ref] != nil {
				wish[ref] = o
			}
		}
	}
	out := func(o Op) bool {
		w, ok := wish[refOf(o)]
		if !ok {
			return false
		}
		out, late := r.contention.stands(w, now)
		if late.Kind != "" {
			p.note(o, late)
		}
		return out
	}
	// A service that is left out leaves its servers out.
	skip := make(map[ServiceKey]bool)
	for _, o := range p.ops {
		if o.Kind == AddService && out(o) {
			skip[o.Service.Key] = true
		}
	}
	p.before = slices.DeleteFunc(p.before, out)
	p.ops = slices.DeleteFunc(p.ops, func(o Op) bool { return skip[o.Service.Key] || out(o) })
	p.after = slices.DeleteFunc(p.after, out)
}

// drift says whether the change repairs what somebody else did, and what.
func (r *Reconciler) drift(o Op, have reads) (Drift, bool) {
	d := Drift{Service: o.Service.Key}
	was, had := r.table[o.Service.Key]
	is, there := have.table[o.Service.Key]
	switch o.Kind {
	case AddService:
		d.Kind, d.Detail = DriftMissingService, fmt.Sprintf("had %d servers", len(was.Servers))
		return d, had
	case SetService:
		d.Kind, d.Detail = DriftOptions, fmt.Sprintf("%s, was %s", is.Service.options(), was.Service.options())
		return d, had && is.Service.Canonical() != was.Service.Canonical()
	case DeleteService:
		d.Kind = DriftExtraService
		return d, !had
	case AddServer, SetServer, DeleteServer:
		if !had || !there {
			return d, false // counted with the service
		}
		return r.driftServer(d, o, was.Servers, is.Servers)
	case StartDaemon, StopDaemon:
		at := func(ds []Daemon) int {
			return slices.IndexFunc(ds, func(x Daemon) bool { return x.Role == o.Daemon.Role })
		}
		w, i := at(r.daemons), at(have.daemons)
		d.Kind = DriftDaemon
		switch {
		case w < 0 && i < 0:
			return d, false
		case w < 0:
			d.Detail = "unwanted " + have.daemons[i].String()
		case i < 0:
			d.Detail = "stopped " + r.daemons[w].String()
		case r.daemons[w] == have.daemons[i] || r.daemons[w].matches(have.daemons[i]):
			return d, false
		default:
			d.Detail = fmt.Sprintf("%v, was %v", have.daemons[i], r.daemons[w])
		}
		return d, true
	case SetTimeouts:
		d.Kind, d.Detail = DriftOptions, fmt.Sprintf("timeouts %v, were %v", have.timeouts, r.timeouts)
		// A timeout that is wanted now for the first time was not read before.
		return d, patchTimeouts(r.timeouts, o) == r.timeouts
	}
	return d, false
}

func (r *Reconciler) driftServer(d Drift, o Op, was, is map[ServerKey]Server) (Drift, bool) {
	d.Server = o.Server.Key
	w, had := was[d.Server]
	i, there := is[d.Server]
	switch {
	case had && !there:
		d.Kind, d.Detail = DriftMissingServer, "was "+w.options()
	case !had && there:
		d.Kind, d.Detail = DriftExtraServer, i.options()
	case w == i:
		return d, false
	default:
		d.Kind, d.Detail = DriftOptions, fmt.Sprintf("%s, was %s", i.options(), w.options())
		if x := i; func() bool { x.Weight = w.Weight; return x == w }() {
			d.Kind, d.Detail = DriftWeight, fmt.Sprintf("weight %d, was %d", i.Weight, w.Weight)
		}
	}
	return d, true
}

// logLines of repairs in one pass; the rest is one line.
const logLines = 20

// repaired reports the drift that a change which was done has ended.
func (r *Reconciler) repaired(o Op, p plan, rep *Report, now time.Time) {
	ref := refOf(o)
	d, ok := p.drift[ref]
	if !ok {
		r.contention.done(o, now)
		if n := p.unmanaged[o.Service.Key]; o.Kind == DeleteService && n > 0 && n <= logLines {
			r.log.Info("removed a service that no configuration of ours has named from the IPVS table", "event", "ipvs_unmanaged_removed", "service", o.Service.Key.String())
		}
		return
	}
	delete(p.drift, ref)
	rep.Drift = append(rep.Drift, d)
	n := r.contention.repaired(o, d, now)
	attrs := []any{"event", "ipvs_repair", "kind", d.Kind}
	if d.Service != (ServiceKey{}) {
		attrs = append(attrs, "service", d.Service.String())
	}
	if d.Server != (ServerKey{}) {
		attrs = append(attrs, "server", d.Server.String())
	}
	attrs = append(attrs, "found", d.Detail)
	if d.Kind == DriftWeight || d.Kind == DriftMissingServer {
		attrs = append(attrs, "hint", "to take a server out of service: lvs-ha drain "+d.Server.String())
	}
	switch {
	case n > 0:
		attrs = append(attrs, "repairs", n, "again_in", r.contention.backoff)
		r.log.Warn("somebody keeps changing the IPVS table, letting it stand for a while", attrs...)
	case len(rep.Drift) < logLines:
		r.log.Info("IPVS table changed by somebody else, repaired", attrs...)
	case len(rep.Drift) == logLines:
		r.log.Info("more repairs of the IPVS table in this pass are not logged", "event", "ipvs_repair")
	}
}
