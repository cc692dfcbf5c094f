package director

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
	"lvs-ha/vrrp"
)

// anyPools draws some services that share checks, and one VRRP instance that
// depends on them. Half of them are at rest: judged, up, nothing left over.
func anyPools(t *rapid.T) State {
	calm := rapid.Bool().Draw(t, "calm")
	var services []conf.Service
	out := State{Verdicts: map[health.Key]Verdict{}, Admin: map[ServerID]Admin{}, Returned: map[ServerID]time.Time{},
		Gone: map[ServerID]bool{}, Kernel: ipvsctl.Table{}, Quorum: map[string]Quorum{}, Roles: map[string]Role{}}
	for i := range rapid.IntRange(1, 3).Draw(t, "services") {
		s, _ := anyPool(t)
		svc := *s.Topology.Services[0].Conf
		was := svc.Service.Key
		if calm {
			s.calm(&svc, t)
		}
		svc.Name, svc.VRRP = fmt.Sprint("web", i), "edge"
		svc.Service.Key.Port += uint16(i)
		services = append(services, svc)
		maps.Copy(out.Verdicts, s.Verdicts)
		for id, a := range s.Admin {
			a.ModeBy.Expires, a.WeightBy.Expires = anyTime(t), anyTime(t)
			out.Admin[ServerID{svc.Name, id.Server}] = a
			out.Gone[ServerID{svc.Name, id.Server}] = rapid.Bool().Draw(t, "gone")
		}
		if e, ok := s.Kernel[was]; ok {
			e.Service = svc.Service
			out.Kernel[svc.Service.Key] = e
		}
		if q, ok := s.Quorum["web"]; ok {
			out.Quorum[svc.Name] = q
		}
		out.Accepted, out.Adopting = s.Accepted, s.Adopting
	}
	if calm {
		out.Adopting = false
	}
	out.Now, out.Topology = t0, poolsTopology(services)
	return out
}

func poolsTopology(services []conf.Service) *Topology {
	c := config(services...)
	c.VRRP = []vrrp.Instance{{Name: "edge"}}
	c.Duties = []conf.Duties{{TrackServices: []vrrp.Track{{Name: "web0", Delta: -7}}}}
	c.Sync = &conf.Sync{Interface: "eth0", ID: 1, Follow: "edge"}
	return NewTopology(c)
}

// calm makes a pool that is far from its edges: what is near them other draws bring.
func (s *State) calm(svc *conf.Service, t *rapid.T) {
	clear(s.Admin)
	for i := range svc.Servers {
		svc.Servers[i].Kernel.Weight = max(1, svc.Servers[i].Kernel.Weight)
		s.judge(svc.Servers[i].Kernel.Key.Addr.String(), health.Up, t0.Add(-time.Hour))
	}
	svc.Quorum, svc.MinHealthy = uint32(rapid.IntRange(1, 5).Draw(t, "few")), min(svc.MinHealthy, .5)
	if rapid.Bool().Draw(t, "no times") {
		svc.RemoveAfter, svc.SlowStart = nil, 0
	}
	s.Quorum = map[string]Quorum{"web": {QuorumMet, t0.Add(-time.Minute)}}
}

// happened is what an event concerns: services, and servers alone.
type happened struct {
	services []int
	servers  []serverAt
	reload   bool
}

// anyTime around the present, or zero.
func anyTime(t *rapid.T) time.Time {
	if n := rapid.IntRange(-1, 60).Draw(t, "at"); n >= 0 {
		return t0.Add(time.Duration(n) * time.Second)
	}
	return time.Time{}
}

// event draws something that happens, and names the services that it concerns
// as the loop does.
func (s *State) event(t *rapid.T, d *Desired) (h happened) {
	one := rapid.IntRange(0, len(s.Topology.Services)-1).Draw(t, "service")
	ts := &s.Topology.Services[one]
	srv := ts.Servers[rapid.IntRange(0, len(ts.Servers)-1).Draw(t, "server")].Conf
	id := ServerID{ts.Conf.Name, srv.Name}
	feed := func(x serverAt) { h.servers = append(h.servers, x) }
	switch rapid.IntRange(0, 12).Draw(t, "event") {
	case 0, 1:
		other, _ := anyPool(t)
		for k, v := range other.Verdicts {
			v.Since = s.Now
			if !v.Recovered.IsZero() {
				v.Recovered = s.Now
			}
			s.Verdicts[k] = v
			s.Topology.fed(k, feed)
		}
	case 2, 10, 11: // one check, by itself
		v := Verdict{State: rapid.SampledFrom([]health.State{health.Up, health.Up, health.Down, health.Down, health.Unknown}).Draw(t, "to"), Since: s.Now}
		if v.State == health.Down {
			v.Failure = &health.Failure{Reason: rapid.SampledFrom(health.Reasons).Draw(t, "reason")}
		} else if rapid.Bool().Draw(t, "recovered") {
			v.Recovered = s.Now
		}
		if v.State == health.Up && rapid.IntRange(0, 3).Draw(t, "asks") == 0 {
			v.Advice = health.Advice{Kind: health.AdvisePercent, Value: uint32(rapid.IntRange(0, 200).Draw(t, "value"))}
		}
		k := spec(srv.Kernel.Key.Addr.String(), 80).Key()
		s.Verdicts[k] = v
		s.Topology.fed(k, feed)
	case 3:
		s.Now = s.Now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
	case 4:
		if !d.Next.IsZero() {
			s.Now = d.Next
		}
	case 5: // somebody, or our own writes
		k := ts.Conf.Service.Key
		e := s.Kernel[k]
		h.servers = []serverAt{{int32(one), onlyKernel}}
		if rapid.IntRange(0, 4).Draw(t, "there") == 0 {
			delete(s.Kernel, k)
			return h
		}
		e = e.Clone()
		e.Service = ts.Conf.Service
		x := srv.Kernel
		if rapid.IntRange(0, 4).Draw(t, "the sorry server") == 0 {
			x = *sorryServer()
		}
		x.Weight = uint32(rapid.IntRange(0, 3).Draw(t, "weight"))
		e.Servers[x.Key] = x
		s.Kernel[k] = e
	case 6:
		a := s.Admin[id]
		a.Mode, a.ModeBy.Expires = rapid.SampledFrom([]AdminMode{"", AdminDrain, AdminMaintenance}).Draw(t, "mode"), anyTime(t)
		s.Admin[id] = a
		s.Returned[id] = s.Now
		h.services = []int{one}
	case 7:
		r := Role{State: rapid.SampledFrom([]vrrp.State{vrrp.Init, vrrp.Backup, vrrp.Master}).Draw(t, "role"), Since: s.Now, Was: s.Roles["edge"].State}
		if rapid.Bool().Draw(t, "cut off") {
			r.Lost = s.Now.Add(-time.Minute)
		}
		s.Roles["edge"] = r
	case 8:
		s.Doubting = !s.Doubting
	case 9:
		s.Adopting = false
		for i, x := range d.Services {
			if !x.settled {
				h.services = append(h.services, i)
			}
		}
	case 12: // a reload, which has all decided on anew
		h.reload = true
		var services []conf.Service
		for i := range s.Topology.Services {
			svc := *s.Topology.Services[i].Conf
			if i == one {
				if rapid.Bool().Draw(t, "another server") {
					svc.Servers = append(slices.Clone(svc.Servers), service("x", vip, ipvsctl.TCP, fmt.Sprint("10.0.0.", 60+len(svc.Servers))).Servers[0])
					svc.Servers[len(svc.Servers)-1].Name = fmt.Sprint("z", len(svc.Servers))
				}
				svc.MinHealthy = float64(rapid.IntRange(0, 10).Draw(t, "share")) / 10
				svc.Quorum = uint32(rapid.IntRange(1, 20).Draw(t, "quorum"))
			}
			services = append(services, svc)
		}
		s.Topology, s.Accepted = poolsTopology(services), s.Now
	}
	return h
}

// Deciding again on what changed is deciding anew on everything, and its
// changes of the goal lead the kernel to the whole goal.
func TestReplanIsPlan(t *testing.T) {
	var alone, whole int // servers decided on by themselves, services as a whole
	defer func() {
		if t.Logf("%d servers decided on by themselves, %d services as a whole", alone, whole); alone < whole/20 {
			t.Error("single servers are hardly ever decided on: this shows little")
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		s := anyPools(t)
		d := Plan(s)
		f := ipvsctltest.NewFake()
		w := newKernelWorker(f, slog.New(slog.DiscardHandler), func(kernelResult) {})
		w.setGoal(d.Goal(&s))
		w.take()
		if res := w.pass(t.Context(), true); res.err != nil || len(res.report.Failed) > 0 {
			t.Fatal(res.err, res.report.Failed)
		}
		w.refs, w.whole = nil, false
		for round := range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for i, x := range d.Services {
				svc := &s.Topology.Services[i]
				s.Quorum[svc.Conf.Name] = x.Quorum
				for j := range x.Servers {
					if healthOf(&x.Servers[j]) == health.Up {
						delete(s.Gone, ServerID{svc.Conf.Name, svc.Servers[j].Conf.Name})
					}
				}
			}
			seen := map[int]bool{}
			var all happened
			for range rapid.IntRange(1, 3).Draw(t, "events") {
				h := s.event(t, &d)
				for _, i := range h.services {
					if !seen[i] {
						seen[i] = true
						all.services = append(all.services, i)
					}
				}
				all.servers, all.reload = append(all.servers, h.servers...), all.reload || h.reload
			}
			before := w.seq
			want := Plan(s)
			if all.reload {
				d = Plan(s)
				w.setGoal(d.Goal(&s))
			} else {
				done := d.Replan(s, all.services, all.servers)
				if !reflect.DeepEqual(d, want) {
					t.Fatalf("round %d, %+v decided on again:\n%+v\nwant\n%+v", round, all, shown(d), shown(want))
				}
				for _, r := range done {
					if r.was == nil {
						alone += len(r.servers)
					} else {
						whole++
					}
				}
				w.change(d.changes(s.Topology, done), d.ManageDaemons, d.Daemons)
			}
			w.take()
			goal := want.Goal(&s)
			if w.seq != before {
				if res := w.pass(t.Context(), false); res.err != nil || len(res.report.Failed) > 0 || res.report.Table != nil && !all.reload {
					t.Fatal(res.err, res.report)
				}
				w.refs = nil
			}
			now, _ := f.Dump(t.Context())
			running, _ := f.Daemons(t.Context())
			stop, start := ipvsctl.DiffDaemons(running, goal)
			if left := ipvsctl.Diff(now, goal); len(left)+len(stop)+len(start) > 0 {
				t.Fatalf("round %d: left to do: %v %v %v", round, left, stop, start)
			}
			if left := ipvsctl.Diff(now, *w.goal); len(left) > 0 {
				t.Fatalf("round %d: the worker's goal is another one: %v", round, left)
			}
			for k, e := range goal.Table {
				for sk := range e.Servers {
					if w.goal.Keep[k][sk] != goal.Keep[k][sk] {
						t.Fatalf("round %d: kept %v %v is %v", round, k, sk, w.goal.Keep[k][sk])
					}
				}
			}
		}
	})
}

func shown(d Desired) string {
	s := fmt.Sprintf("%+v", d)
	for _, x := range d.Services {
		s += fmt.Sprintf("\n  %+v", *x)
	}
	return s
}
