package director

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
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
// depends on them.
func anyPools(t *rapid.T) State {
	var services []conf.Service
	out := State{Verdicts: map[health.Key]Verdict{}, Admin: map[ServerID]Admin{}, Returned: map[ServerID]time.Time{},
		Gone: map[ServerID]bool{}, Kernel: ipvsctl.Table{}, Quorum: map[string]Quorum{}, Roles: map[string]Role{}}
	for i := range rapid.IntRange(1, 3).Draw(t, "services") {
		s, _ := anyPool(t)
		svc := *s.Topology.Services[0].Conf
		was := svc.Service.Key
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
	c := config(services...)
	c.VRRP = []vrrp.Instance{{Name: "edge"}}
	c.Duties = []conf.Duties{{TrackServices: []vrrp.Track{{Name: "web0", Delta: -7}}}}
	c.Sync = &conf.Sync{Interface: "eth0", ID: 1, Follow: "edge"}
	out.Now, out.Topology = t0, NewTopology(c)
	return out
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
func (s *State) event(t *rapid.T, d *Desired) (dirty []int) {
	dirty = []int{}
	one := rapid.IntRange(0, len(s.Topology.Services)-1).Draw(t, "service")
	ts := &s.Topology.Services[one]
	srv := ts.Servers[rapid.IntRange(0, len(ts.Servers)-1).Draw(t, "server")].Conf
	id := ServerID{ts.Conf.Name, srv.Name}
	switch rapid.IntRange(0, 9).Draw(t, "event") {
	case 0, 1, 2:
		other, _ := anyPool(t)
		for k, v := range other.Verdicts {
			v.Since = s.Now
			if !v.Recovered.IsZero() {
				v.Recovered = s.Now
			}
			s.Verdicts[k] = v
			s.Topology.fed(k, func(i int) { dirty = append(dirty, i) })
		}
	case 3:
		s.Now = s.Now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
	case 4:
		if !d.Next.IsZero() {
			s.Now = d.Next
		}
	case 5: // somebody, or our own writes
		k := ts.Conf.Service.Key
		e := s.Kernel[k]
		if rapid.IntRange(0, 4).Draw(t, "there") == 0 {
			delete(s.Kernel, k)
			return []int{one}
		}
		e = e.Clone()
		e.Service = ts.Conf.Service
		x := srv.Kernel
		x.Weight = uint32(rapid.IntRange(0, 3).Draw(t, "weight"))
		e.Servers[x.Key] = x
		s.Kernel[k] = e
		return []int{one}
	case 6:
		a := s.Admin[id]
		a.Mode, a.ModeBy.Expires = rapid.SampledFrom([]AdminMode{"", AdminDrain, AdminMaintenance}).Draw(t, "mode"), anyTime(t)
		s.Admin[id] = a
		s.Returned[id] = s.Now
		return []int{one}
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
				dirty = append(dirty, i)
			}
		}
	}
	return dirty
}

// Deciding again on what changed is deciding anew on everything, and its
// changes of the goal lead the kernel to the whole goal.
func TestReplanIsPlan(t *testing.T) {
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
			var dirty []int
			for range rapid.IntRange(1, 3).Draw(t, "events") {
				for _, i := range s.event(t, &d) {
					if !seen[i] {
						seen[i] = true
						dirty = append(dirty, i)
					}
				}
			}
			before := w.seq
			done := d.Replan(s, dirty)
			want := Plan(s)
			if !reflect.DeepEqual(d, want) {
				t.Fatalf("round %d, services %v decided on again:\n%+v\nwant\n%+v", round, dirty, shown(d), shown(want))
			}
			w.change(d.changes(s.Topology, done), d.ManageDaemons, d.Daemons)
			w.take()
			goal := want.Goal(&s)
			if w.seq != before {
				if res := w.pass(t.Context(), false); res.err != nil || len(res.report.Failed) > 0 || res.report.Table != nil {
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
