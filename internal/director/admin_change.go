package director

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// AdminAction is what a person asks for.
type AdminAction string

const (
	ActionDrain       AdminAction = "drain"
	ActionMaintenance AdminAction = "maintenance"
	ActionReady       AdminAction = "ready" // ends drain and maintenance, not a weight
	ActionWeight      AdminAction = "weight"
	ActionPause       AdminAction = "pause"
	ActionResume      AdminAction = "resume"
)

// LongestOrder bounds AdminRequest.For: who wants more wants no end.
const LongestOrder = 10 * 365 * 24 * time.Hour

// AdminRequest of a person.
type AdminRequest struct {
	Action AdminAction
	// Targets are "service" or "service/server"; either part may be a glob or
	// the address. None with pause and resume.
	Targets []string
	// Weight for ActionWeight, 0..65535; nil is the configured one again.
	Weight *uint32
	// For is how long the order holds; 0 for no end.
	For           time.Duration
	Owner, Reason string
	// Force carries out what would end a service or break a floor.
	Force  bool
	DryRun bool
}

// AdminResult tells what a request does.
type AdminResult struct {
	Servers  []AdminServer
	Services []AdminService // that the servers belong to
	Pause    Pause          // after the request
	// Objections say what the request would harm. Without Force nothing was done then.
	Objections []string
	// Unsaved is why the orders will not outlive the agent; "" if they will.
	Unsaved string
}

// AdminServer is one server that a request names, before and after it.
type AdminServer struct {
	ID                        ServerID
	Before, After             Admin
	StateBefore, StateAfter   ServerState
	WeightBefore, WeightAfter uint32 // decided, not read from the kernel
	Why                       string
	// Configured: the configuration names it; orders outlive their server.
	Configured bool
}

// Changed tells whether the request changes an order.
func (a *AdminServer) Changed() bool { return a.Before != a.After }

// AdminService is one service that a request touches.
type AdminService struct {
	Name                          string
	Quorum, ConfiguredWeight      uint32
	HealthyBefore, HealthyAfter   uint32
	UpBefore, UpAfter, SorryAfter bool
	ServingAfter, FloorWeight     uint32
}

// ErrNoTarget: no server is meant by a target.
var ErrNoTarget = errors.New("no server is meant")

// ErrAdminRequest: the request makes no sense.
var ErrAdminRequest = errors.New("request makes no sense")

// RefusedError: the request would do harm, and Force was not given.
type RefusedError struct{ Objections []string }

func (e *RefusedError) Error() string { return strings.Join(e.Objections, "; ") }

// Admin carries out what a person asks for, or tells what it would do. With a
// *RefusedError the result tells what would have come of it.
func (d *Director) Admin(ctx context.Context, r AdminRequest) (AdminResult, error) {
	if err := r.check(); err != nil {
		return AdminResult{}, err
	}
	var res AdminResult
	var err error
	if e := d.do(ctx, func() { res, err = d.order(r) }); e != nil {
		return AdminResult{}, e
	}
	return res, err
}

func (r *AdminRequest) check() error {
	bad := func(s string) error { return fmt.Errorf("%w: %s", ErrAdminRequest, s) }
	switch r.Action {
	case ActionPause, ActionResume:
		if len(r.Targets) > 0 {
			return bad("pause and resume are of the whole agent")
		}
	case ActionDrain, ActionMaintenance, ActionReady, ActionWeight:
		if len(r.Targets) == 0 {
			return bad("which server? name service/server")
		}
	default:
		return bad("unknown action " + string(r.Action))
	}
	switch {
	case r.For < 0 || r.For > LongestOrder:
		return bad("an order lasts up to ten years; without a time it has no end")
	case r.For > 0 && (r.Action == ActionReady || r.Action == ActionResume || r.Action == ActionWeight && r.Weight == nil):
		return bad("this has no end of its own")
	case r.Weight != nil && (r.Action != ActionWeight || *r.Weight > maxWeight):
		return bad("a weight is 0 to 65535")
	}
	return nil
}

// order runs in the loop.
func (d *Director) order(r AdminRequest) (AdminResult, error) {
	now := time.Now()
	d.expire(now)
	by := Order{Owner: plainText(r.Owner), Reason: plainText(r.Reason), Since: now, Force: r.Force}
	if r.For > 0 {
		by.Expires = now.Add(r.For)
	}
	if r.Action == ActionPause || r.Action == ActionResume {
		return d.orderPause(r, by), nil
	}
	ids, err := d.match(r.Targets, r.Action == ActionReady || r.Action == ActionWeight && r.Weight == nil)
	if err != nil {
		return AdminResult{}, err
	}
	want := maps.Clone(d.admin)
	for _, id := range ids {
		a := want[id]
		switch r.Action {
		case ActionDrain:
			a.Mode, a.ModeBy = AdminDrain, by
		case ActionMaintenance:
			a.Mode, a.ModeBy = AdminMaintenance, by
		case ActionReady:
			a.Mode, a.ModeBy = "", Order{}
		case ActionWeight:
			a.Weight, a.WeightBy = r.Weight, by
			if r.Weight == nil {
				a.WeightBy = Order{}
			}
		case ActionPause, ActionResume:
		}
		want[id] = a
	}
	if d.dirty {
		d.decide()
	}
	s := d.state(now)
	s.Admin = want
	after := d.desired
	after.Services = slices.Clone(after.Services)
	after.Replan(s, d.servicesOf(ids), nil)
	res := d.compare(ids, want, &d.desired, &after)
	res.Pause = d.pause
	if len(res.Objections) > 0 && !r.Force {
		return res, &RefusedError{res.Objections}
	}
	if r.DryRun {
		return res, nil
	}
	for i := range res.Servers {
		x := &res.Servers[i]
		d.setAdmin(x.ID, x.After, now)
		if x.Changed() {
			d.o.Log.Info(fmt.Sprintf("service %s: server %s: %s", x.ID.Service, x.ID.Server, by.why(r.word())), "event", "admin",
				"service", x.ID.Service, "server", x.ID.Server, "action", r.Action, "owner", by.Owner, "reason", by.Reason, "force", r.Force)
		}
	}
	if err := d.saveAdmin(); err != nil {
		res.Unsaved = err.Error()
	}
	d.decide()
	return res, nil
}

func (r *AdminRequest) word() string {
	if r.Action == ActionWeight {
		if r.Weight == nil {
			return "configured weight again"
		}
		return fmt.Sprintf("weight %d", *r.Weight)
	}
	return string(r.Action)
}

func (d *Director) orderPause(r AdminRequest, by Order) AdminResult {
	res := AdminResult{Pause: Pause{On: r.Action == ActionPause}}
	if res.Pause.On {
		res.Pause.By = by
	}
	if r.DryRun {
		return res
	}
	d.pause = res.Pause
	event, what := "resumed", "resumed, the kernel's table is put right"
	if d.pause.On {
		event, what = "paused", "paused, nothing is changed in the kernel"
	}
	d.o.Log.Info(by.why(what), "event", event, "owner", by.Owner, "reason", by.Reason)
	if err := d.saveAdmin(); err != nil {
		res.Unsaved = err.Error()
	}
	d.decide()
	return res
}

// compare two decisions for the servers of a request, and object to harm.
func (d *Director) compare(ids []ServerID, want map[ServerID]Admin, before, after *Desired) AdminResult {
	named := make(map[ServerID]bool, len(ids))
	for _, id := range ids {
		named[id] = true
	}
	var res AdminResult
	for i := range d.top.Services {
		ts, b, a := &d.top.Services[i], before.Services[i], after.Services[i]
		touched := false
		for j := range ts.Servers {
			id := ServerID{ts.Conf.Name, ts.Servers[j].Conf.Name}
			if !named[id] {
				continue
			}
			delete(named, id)
			touched = true
			res.Servers = append(res.Servers, AdminServer{
				ID: id, Before: d.admin[id], After: want[id], Configured: true, Why: a.Servers[j].Why,
				StateBefore: b.Servers[j].State, StateAfter: a.Servers[j].State,
				WeightBefore: d.weightOf(before, i, j), WeightAfter: d.weightOf(after, i, j),
			})
		}
		if !touched {
			continue
		}
		v := AdminService{
			Name: ts.Conf.Name, Quorum: max(1, ts.Conf.Quorum), ConfiguredWeight: a.ConfiguredWeight,
			HealthyBefore: b.HealthyWeight, HealthyAfter: a.HealthyWeight, UpBefore: b.Up, UpAfter: a.Up, SorryAfter: a.SorryActive,
			ServingAfter: a.ServingWeight, FloorWeight: a.Floor.Weight,
		}
		res.Services = append(res.Services, v)
		res.Objections = append(res.Objections, objections(&v, b, a)...)
	}
	for _, id := range ids {
		if named[id] {
			res.Servers = append(res.Servers, AdminServer{ID: id, Before: d.admin[id], After: want[id]})
		}
	}
	return res
}

// weightOf a server as decided; that in the kernel where it stands.
func (d *Director) weightOf(x *Desired, i, j int) uint32 {
	dec, ts := &x.Services[i].Servers[j], &d.top.Services[i]
	if dec.Keep {
		if held, has := d.kernel.table.Table[ts.Conf.Service.Key].Servers[ts.Servers[j].Conf.Kernel.Key]; has {
			return held.Weight
		}
	}
	return dec.Weight
}

func objections(v *AdminService, b, a *ServiceDecision) []string {
	var out []string
	switch {
	case v.UpBefore && !v.UpAfter:
		out = append(out, fmt.Sprintf("this would end service %s: %d of %d weight left, quorum %d not met", v.Name, v.HealthyAfter, v.ConfiguredWeight, v.Quorum))
	case b.ServingWeight > 0 && a.ServingWeight == 0:
		out = append(out, fmt.Sprintf("this would leave service %s without a server", v.Name))
	}
	if a.Floor.Held > b.Floor.Held || a.Floor.Short && !b.Floor.Short {
		out = append(out, fmt.Sprintf("min_healthy of service %s asks for weight %d in service", v.Name, a.Floor.Weight))
	}
	return out
}

// match finds the servers that targets mean, in the order of the
// configuration. With gone, orders for servers that the configuration no
// longer names are found too.
func (d *Director) match(targets []string, gone bool) ([]ServerID, error) {
	var ids []ServerID
	seen := map[ServerID]bool{}
	for _, t := range targets {
		service, server, both := strings.Cut(t, "/")
		if _, err := path.Match(service, ""); err != nil || service == "" || both && server == "" {
			return nil, fmt.Errorf("%w: target %q: write service, service/server, or a glob of these", ErrAdminRequest, t)
		}
		if _, err := path.Match(server, ""); err != nil {
			return nil, fmt.Errorf("%w: target %q: write service, service/server, or a glob of these", ErrAdminRequest, t)
		}
		found := false
		for i := range d.top.Services {
			ts := &d.top.Services[i]
			k := ts.Conf.Service.Key
			if !means(service, ts.Conf.Name, k.Addr, k.Port) {
				continue
			}
			for j := range ts.Servers {
				srv := ts.Servers[j].Conf
				if both && !means(server, srv.Name, srv.Kernel.Key.Addr, srv.Kernel.Key.Port) {
					continue
				}
				found = true
				if id := (ServerID{ts.Conf.Name, srv.Name}); !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
		}
		if gone {
			from := len(ids)
			for id := range d.admin {
				if !means(service, id.Service, netip.Addr{}, 0) || both && !means(server, id.Server, netip.Addr{}, 0) {
					continue
				}
				found = true
				if !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
			slices.SortFunc(ids[from:], func(a, b ServerID) int {
				return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Server, b.Server))
			})
		}
		if !found {
			return nil, fmt.Errorf("%w by %q; \"lvs-ha status --all\" shows them", ErrNoTarget, t)
		}
	}
	return ids, nil
}

// means tells whether a part of a target is the name, a glob of it, the
// address, or address and port.
func means(part, name string, a netip.Addr, port uint16) bool {
	if part == name {
		return true
	}
	if a.IsValid() && (part == a.String() || part == netip.AddrPortFrom(a, port).String()) {
		return true
	}
	ok, _ := path.Match(part, name)
	if !ok && a.IsValid() {
		ok, _ = path.Match(part, a.String())
	}
	return ok
}
