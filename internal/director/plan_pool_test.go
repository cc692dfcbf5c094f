package director

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp/link"
)

const rs3 = "10.0.0.23"
const rs4 = "10.0.0.24"
const sorryAddr = "10.0.0.99"

// fails gives a verdict with a reason.
func (s *State) fails(server string, r health.Reason, since time.Time) {
	s.Verdicts[spec(server, 80).Key()] = Verdict{State: health.Down, Since: since, Failure: &health.Failure{Reason: r, Detail: string(r)}}
}

// weights that the goal gives the only service, by server address; absent
// servers are -1. Kept weights are those of the kernel.
func weights(s State, d Desired, servers ...string) []int {
	key := s.Topology.Services[0].Conf.Service.Key
	out := make([]int, len(servers))
	for i, a := range servers {
		k := ipvsctl.ServerKey{Addr: addr(a), Port: 80}
		e, in := d.Goal(&s).Table[key].Servers[k]
		out[i] = -1
		if in {
			out[i] = int(e.Weight)
			if held, has := s.Kernel[key].Servers[k]; has && d.Goal(&s).Keep[key][k] {
				out[i] = int(held.Weight)
			}
		}
	}
	return out
}

func sorryServer() *ipvsctl.Server {
	return &ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: addr(sorryAddr), Port: 80}, Forward: ipvsctl.Direct, Weight: 1}
}

func TestPlanQuorumHysteresis(t *testing.T) {
	svc := service("web", vip, ipvsctl.TCP, rs1, rs2, rs3, rs4)
	svc.Quorum, svc.QuorumHysteresis = 3, 1
	all := []string{rs1, rs2, rs3, rs4}
	for _, c := range []struct {
		was  QuorumState
		up   int
		want QuorumState
	}{
		{QuorumUnknown, 3, QuorumMet}, {QuorumUnknown, 2, QuorumLost},
		{QuorumMet, 2, QuorumMet}, {QuorumMet, 1, QuorumLost}, {QuorumMet, 4, QuorumMet},
		{QuorumLost, 2, QuorumLost}, {QuorumLost, 3, QuorumLost}, {QuorumLost, 4, QuorumMet},
	} {
		s := world(config(svc))
		s.Quorum = map[string]Quorum{"web": {c.was, t0.Add(-time.Hour)}}
		for i, a := range all {
			s.judge(a, map[bool]health.State{true: health.Up, false: health.Down}[i < c.up], t0)
		}
		got := Plan(s).Services[0]
		since := t0
		if c.was == c.want {
			since = t0.Add(-time.Hour)
		}
		if want := (Quorum{c.want, since}); got.Quorum != want || got.Up != (c.want == QuorumMet) {
			t.Errorf("%d with %d up: %+v up %v, want %+v", c.was, c.up, got.Quorum, got.Up, want)
		}
	}
	svc.QuorumHysteresis = 3
	s := world(config(svc))
	s.Quorum = map[string]Quorum{"web": {QuorumMet, t0}}
	for _, a := range all {
		s.judge(a, health.Down, t0)
	}
	if Plan(s).Services[0].Up {
		t.Error("a quorum met by nobody")
	}
}

func TestPlanSorry(t *testing.T) {
	after := 30 * time.Second
	base := func() conf.Service {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2, rs3)
		svc.Quorum, svc.Sorry, svc.OnQuorumLoss, svc.RemoveAfter = 2, sorryServer(), conf.QuorumSorry, &after
		return svc
	}
	for _, c := range []struct {
		name   string
		change func(*conf.Service)
		up     int // of three; the others are down, or unknown if negative
		was    Quorum
		held   map[string]uint32
		adopt  bool
		want   []int // rs1 rs2 rs3 sorry
	}{
		{name: "quorum met", up: 2, want: []int{1, 1, 0, -1}},
		{name: "quorum lost: the rest stands back", up: 1, want: []int{0, 0, 0, 1}},
		{name: "nobody left", up: 0, want: []int{0, 0, 0, 1}},
		{name: "keep", change: func(s *conf.Service) { s.OnQuorumLoss = conf.QuorumKeep }, up: 1, want: []int{1, 0, 0, -1}},
		{name: "no sorry server", change: func(s *conf.Service) { s.Sorry = nil }, up: 1, want: []int{1, 0, 0, -1}},
		{name: "waits while servers are not judged", up: -1, want: []int{0, 0, 0, -1}},
		{name: "hysteresis: the quorum alone does not bring the servers back", change: func(s *conf.Service) { s.QuorumHysteresis = 1 }, up: 2,
			was: Quorum{QuorumLost, t0.Add(-time.Hour)}, held: map[string]uint32{rs1: 0, rs2: 0, rs3: 0, sorryAddr: 1}, want: []int{0, 0, 0, 1}},
		{name: "hysteresis: and more does", change: func(s *conf.Service) { s.QuorumHysteresis = 1 }, up: 3,
			was: Quorum{QuorumLost, t0.Add(-time.Hour)}, held: map[string]uint32{rs1: 0, rs2: 0, rs3: 0, sorryAddr: 1}, want: []int{1, 1, 1, 0}},
		{name: "hysteresis: a floor that is kept comes first", change: func(s *conf.Service) { s.QuorumHysteresis, s.MinHealthy = 1, .5 }, up: 2,
			was: Quorum{QuorumLost, t0.Add(-time.Hour)}, held: map[string]uint32{rs1: 1, rs2: 1, rs3: 0}, want: []int{1, 1, 0, -1}},
		{name: "back: goes to weight 0 first", up: 2, was: Quorum{QuorumLost, t0.Add(-time.Hour)}, held: map[string]uint32{rs1: 0, rs2: 0, rs3: 0, sorryAddr: 1}, want: []int{1, 1, 0, 0}},
		{name: "then out", up: 2, was: Quorum{QuorumMet, t0.Add(-after)}, held: map[string]uint32{rs1: 1, rs2: 1, rs3: 0, sorryAddr: 0}, want: []int{1, 1, 0, -1}},
		{name: "stays within remove_after", up: 2, was: Quorum{QuorumMet, t0.Add(time.Second - after)}, held: map[string]uint32{rs1: 1, rs2: 1, rs3: 0, sorryAddr: 0}, want: []int{1, 1, 0, 0}},
		{name: "with persistence out at once", change: func(s *conf.Service) { s.Service.Flags = ipvsctl.FlagPersistent }, up: 2, was: Quorum{QuorumLost, t0}, held: map[string]uint32{sorryAddr: 1}, want: []int{1, 1, -1, -1}},
		{name: "a new director finds it in place", up: -1, adopt: true, held: map[string]uint32{rs1: 0, rs2: 0, rs3: 0, sorryAddr: 1}, want: []int{0, 0, 0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := base()
			if c.change != nil {
				c.change(&svc)
			}
			s := world(config(svc))
			s.Adopting, s.Accepted = c.adopt, t0.Add(-time.Second)
			if c.was != (Quorum{}) {
				s.Quorum = map[string]Quorum{"web": c.was}
			}
			for i, a := range []string{rs1, rs2, rs3} {
				if c.up >= 0 {
					s.judge(a, map[bool]health.State{true: health.Up, false: health.Down}[i < c.up], t0)
				}
			}
			if c.held != nil {
				s.holds(svc, c.held)
			}
			d := Plan(s)
			if got := weights(s, d, rs1, rs2, rs3, sorryAddr); !slices.Equal(got, c.want) {
				t.Errorf("weights %v, want %v", got, c.want)
			}
			if got := d.Services[0].SorryActive; got != (c.want[3] > 0) {
				t.Errorf("sorry active %v", got)
			}
			// Servers that nobody has judged are waited for, but not for ever.
			if c.up < 0 && !c.adopt {
				s.Now = s.Accepted.Add(JudgeLimit)
				if d.Next != s.Now || !Plan(s).Services[0].SorryActive {
					t.Errorf("next %v; sorry active at the limit: %v", d.Next, Plan(s).Services[0].SorryActive)
				}
			}
		})
	}
}

func TestPlanWithdraw(t *testing.T) {
	a, b := service("web", vip, ipvsctl.TCP, rs1), service("api", "192.0.2.11", ipvsctl.TCP, rs1)
	a.OnQuorumLoss, a.VRRP = conf.QuorumWithdraw, "edge"
	b.OnQuorumLoss, b.VRRP = conf.QuorumWithdraw, "edge"
	s := world(config(a, b))
	s.Accepted = t0
	if d := Plan(s); d.Instances != nil {
		t.Errorf("withdrawn before any verdict: %v", d.Instances)
	}
	s.judge(rs1, health.Up, t0)
	if d := Plan(s); d.Instances != nil {
		t.Errorf("withdrawn while up: %v", d.Instances)
	}
	s.judge(rs1, health.Down, t0)
	want := map[string]link.InstancePosture{"edge": {Deltas: []int{WithdrawDelta, WithdrawDelta}}}
	if diff := cmp.Diff(want, Plan(s).Instances); diff != "" {
		t.Error(diff)
	}
}

func TestPlanFloor(t *testing.T) {
	order := func(m AdminMode, force bool) Admin {
		return Admin{Mode: m, ModeBy: Order{Owner: "anna", Since: t0, Force: force}}
	}
	type server = func(s *State)
	fails := func(a string, r health.Reason, ago time.Duration) server {
		return func(s *State) { s.fails(a, r, t0.Add(-ago)) }
	}
	up := func(a string) server { return func(s *State) { s.judge(a, health.Up, t0.Add(-time.Hour)) } }
	names := map[string]string{rs1: "a", rs2: "b", rs3: "c", rs4: "d"}
	admin := func(a string, x Admin) server {
		return func(s *State) { s.Admin[ServerID{"web", names[a]}] = x }
	}
	for _, c := range []struct {
		name  string
		share float64
		sorry bool
		held  map[string]uint32
		does  []server
		want  []int
		floor Floor
	}{
		{name: "not needed", share: .5, does: []server{up(rs1), up(rs2), fails(rs3, health.ReasonTimeout, 0), fails(rs4, health.ReasonTimeout, 0)},
			want: []int{10, 10, 0, 0}, floor: Floor{Weight: 20}},
		{name: "keeps those that failed last", share: .5, does: []server{fails(rs1, health.ReasonTimeout, 4), fails(rs2, health.ReasonStatus, 1), fails(rs3, health.ReasonTimeout, 2), fails(rs4, health.ReasonTimeout, 3)},
			want: []int{0, 10, 10, 0}, floor: Floor{Weight: 20, Held: 2}},
		{name: "soft before refused", share: .5, does: []server{fails(rs1, health.ReasonRefused, 0), fails(rs2, health.ReasonReset, 0), fails(rs3, health.ReasonBody, 9), fails(rs4, health.ReasonTimeout, 9)},
			want: []int{0, 0, 10, 10}, floor: Floor{Weight: 20, Held: 2}},
		{name: "refused where nothing else is left", share: .5, does: []server{fails(rs1, health.ReasonRefused, 0), fails(rs2, health.ReasonRefused, 1), fails(rs3, health.ReasonUnreachable, 9), fails(rs4, health.ReasonTimeout, 9)},
			want: []int{10, 0, 0, 10}, floor: Floor{Weight: 20, Held: 2}},
		{name: "a sorry server is better than refused", share: .5, sorry: true, does: []server{fails(rs1, health.ReasonRefused, 0), fails(rs2, health.ReasonRefused, 1), fails(rs3, health.ReasonReset, 9), fails(rs4, health.ReasonUnreachable, 9)},
			want: []int{0, 0, 0, 0, 1}, floor: Floor{Weight: 20, Short: true}},
		{name: "but not than silent", share: .5, sorry: true, does: []server{fails(rs1, health.ReasonRefused, 0), fails(rs2, health.ReasonTimeout, 1), fails(rs3, health.ReasonTimeout, 9), fails(rs4, health.ReasonReset, 9)},
			want: []int{0, 10, 10, 0, -1}, floor: Floor{Weight: 20, Held: 2}},
		{name: "nothing moves without need", share: .25, held: map[string]uint32{rs1: 0, rs2: 10, rs3: 0, rs4: 0}, does: []server{fails(rs1, health.ReasonTimeout, 0), fails(rs2, health.ReasonTimeout, 9), fails(rs3, health.ReasonTimeout, 1), fails(rs4, health.ReasonTimeout, 2)},
			want: []int{0, 10, 0, 0}, floor: Floor{Weight: 10, Held: 1}},
		{name: "binds on drains", share: .75, does: []server{up(rs1), up(rs2), up(rs3), up(rs4), admin(rs1, order(AdminDrain, false)), admin(rs2, order(AdminDrain, false))},
			want: []int{10, 0, 10, 10}, floor: Floor{Weight: 30, Held: 1}},
		{name: "a drained healthy one before a failed one", share: .75, does: []server{up(rs1), up(rs2), up(rs3), fails(rs4, health.ReasonTimeout, 0), admin(rs1, order(AdminDrain, false))},
			want: []int{10, 10, 10, 0}, floor: Floor{Weight: 30, Held: 1}},
		{name: "not on drains by force", share: .75, does: []server{up(rs1), up(rs2), up(rs3), up(rs4), admin(rs1, order(AdminDrain, true)), admin(rs2, order(AdminDrain, true))},
			want: []int{0, 0, 10, 10}, floor: Floor{Weight: 30, Short: true}},
		{name: "not on maintenance", share: .75, does: []server{up(rs1), up(rs2), up(rs3), up(rs4), admin(rs1, order(AdminMaintenance, false)), admin(rs2, order(AdminMaintenance, false))},
			want: []int{0, 0, 10, 10}, floor: Floor{Weight: 30, Short: true}},
		{name: "binds on weights", share: 1, does: []server{up(rs1), up(rs2), up(rs3), up(rs4), admin(rs1, Admin{Weight: new(uint32(2)), WeightBy: Order{Owner: "anna"}})},
			want: []int{10, 10, 10, 10}, floor: Floor{Weight: 40, Held: 1}},
		{name: "kept weights count", share: .5, held: map[string]uint32{rs1: 10, rs2: 10, rs3: 0, rs4: 0}, does: []server{fails(rs3, health.ReasonTimeout, 0)},
			want: []int{10, 10, 0, 0}, floor: Floor{Weight: 20}},
		{name: "first verdicts", share: .5, held: map[string]uint32{rs1: 10, rs2: 10, rs3: 0, rs4: 0}, does: []server{fails(rs1, health.ReasonTimeout, 0)},
			want: []int{10, 10, 0, 0}, floor: Floor{Weight: 20, Held: 1}},
		{name: "a third of four is two", share: .34, does: []server{fails(rs1, health.ReasonTimeout, 0), fails(rs2, health.ReasonTimeout, 1), fails(rs3, health.ReasonTimeout, 2), fails(rs4, health.ReasonTimeout, 3)},
			want: []int{10, 10, 0, 0}, floor: Floor{Weight: 14, Held: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := service("web", vip, ipvsctl.TCP, rs1, rs2, rs3, rs4)
			for i := range svc.Servers {
				svc.Servers[i].Kernel.Weight = 10
			}
			svc.MinHealthy = c.share
			if c.sorry {
				svc.Sorry, svc.OnQuorumLoss = sorryServer(), conf.QuorumSorry
			}
			s := world(config(svc))
			s.Admin = map[ServerID]Admin{}
			for _, f := range c.does {
				f(&s)
			}
			if c.held != nil {
				s.holds(svc, c.held)
			}
			d := Plan(s)
			all := []string{rs1, rs2, rs3, rs4}
			if len(c.want) == 5 {
				all = append(all, sorryAddr)
			}
			if got := weights(s, d, all...); !slices.Equal(got, c.want) {
				t.Errorf("weights %v, want %v", got, c.want)
			}
			if diff := cmp.Diff(c.floor, d.Services[0].Floor); diff != "" {
				t.Error(diff)
			}
			for _, x := range d.Services[0].Servers {
				if x.Held != strings.HasPrefix(x.Why, "kept in service by min_healthy") {
					t.Errorf("held %v, but why is %q", x.Held, x.Why)
				}
			}
		})
	}
}

func TestPlanAdmin(t *testing.T) {
	for _, c := range []struct {
		name    string
		admin   Admin
		change  func(*conf.Service)
		verdict health.State
		held    map[string]uint32
		adopt   bool
		want    ServerDecision
		next    time.Duration
	}{
		{name: "drain", admin: Admin{Mode: AdminDrain, ModeBy: Order{Owner: "anna", Reason: "kernel update"}}, verdict: health.Up,
			want: ServerDecision{State: ServerDrain, Healthy: true, InTable: true, Why: "drained by anna: kernel update"}},
		{name: "until", admin: Admin{Mode: AdminDrain, ModeBy: Order{Expires: t0.Add(time.Hour)}}, verdict: health.Up, next: time.Hour,
			want: ServerDecision{State: ServerDrain, Healthy: true, InTable: true, Why: "drained until 2026-01-02 04:04:05 UTC"}},
		{name: "over", admin: Admin{Mode: AdminDrain, ModeBy: Order{Expires: t0}}, verdict: health.Up,
			want: ServerDecision{State: ServerUp, Healthy: true, InTable: true, Weight: 1}},
		{name: "drained persistent clients stay", admin: Admin{Mode: AdminDrain}, change: func(s *conf.Service) { s.Service.Flags = ipvsctl.FlagPersistent }, verdict: health.Up,
			want: ServerDecision{State: ServerDrain, Healthy: true, InTable: true, Why: "drained"}},
		{name: "in maintenance they go", admin: Admin{Mode: AdminMaintenance}, change: func(s *conf.Service) { s.Service.Flags = ipvsctl.FlagPersistent }, verdict: health.Up,
			want: ServerDecision{State: ServerMaintenance, Healthy: true, Why: "in maintenance"}},
		{name: "maintenance", admin: Admin{Mode: AdminMaintenance}, verdict: health.Up,
			want: ServerDecision{State: ServerMaintenance, Healthy: true, InTable: true, Why: "in maintenance"}},
		{name: "failed while drained", admin: Admin{Mode: AdminDrain}, change: func(s *conf.Service) { s.OnFailure = conf.FailRemove }, verdict: health.Down,
			want: ServerDecision{State: ServerDrain, Why: "drained (check tcp: connection refused)"}},
		{name: "drained, removed, and the director is new", admin: Admin{Mode: AdminDrain}, held: map[string]uint32{rs2: 1}, adopt: true,
			want: ServerDecision{State: ServerDrain, Why: "drained"}},
		{name: "weight", admin: Admin{Weight: new(uint32(7)), WeightBy: Order{Owner: "anna"}}, verdict: health.Up,
			want: ServerDecision{State: ServerUp, Healthy: true, InTable: true, Weight: 7, Why: "weight 7 set by anna"}},
		{name: "weight of a failed server", admin: Admin{Weight: new(uint32(7))}, verdict: health.Down,
			want: ServerDecision{State: ServerDown, InTable: true, Why: "check tcp: connection refused"}},
		{name: "drain with weight", admin: Admin{Mode: AdminDrain, Weight: new(uint32(7))}, verdict: health.Up,
			want: ServerDecision{State: ServerDrain, Healthy: true, InTable: true, Why: "drained"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := service("web", vip, ipvsctl.TCP, rs1)
			if c.change != nil {
				c.change(&svc)
			}
			s := world(config(svc))
			s.Adopting = c.adopt
			s.Admin = map[ServerID]Admin{{"web", "a"}: c.admin, {"web", "unknown"}: {Mode: AdminDrain}}
			if c.verdict != health.Unknown {
				s.judge(rs1, c.verdict, t0)
				c.want.Since = t0
			}
			if c.held != nil {
				s.holds(svc, c.held)
			}
			d := Plan(s)
			if diff := cmp.Diff(c.want, d.Services[0].Servers[0], ofServer); diff != "" {
				t.Error(diff)
			}
			if c.next == 0 != d.Next.IsZero() || c.next != 0 && d.Next != t0.Add(c.next) {
				t.Errorf("next %v, want in %v", d.Next, c.next)
			}
		})
	}
}

func TestPlanAdvice(t *testing.T) {
	drain, maint, none := health.Advice{Kind: health.AdviseDrain}, health.Advice{Kind: health.AdviseMaint}, health.Advice{}
	weight := func(n uint32) health.Advice { return health.Advice{Kind: health.AdviseWeight, Value: n} }
	for _, c := range []struct {
		name   string
		advice health.Advice
		change func(*conf.Service, *State)
		want   ServerDecision
	}{
		{name: "weight", advice: weight(3), want: ServerDecision{State: ServerUp, Weight: 3, InTable: true, Why: "the server asks for weight 3"}},
		{name: "percent", advice: health.Advice{Kind: health.AdvisePercent, Value: 250}, want: ServerDecision{State: ServerUp, Weight: 25, InTable: true, Why: "the server asks for 250%"}},
		{name: "drain", advice: drain, want: ServerDecision{State: ServerDrain, InTable: true, Why: "the server asks for drain"}},
		{name: "maint", advice: maint, want: ServerDecision{State: ServerMaintenance, InTable: true, Why: "the server asks for maint"}},
		{name: "maint of UDP", advice: maint, change: func(v *conf.Service, _ *State) { v.Service.Key.Protocol = ipvsctl.UDP },
			want: ServerDecision{State: ServerMaintenance, Why: "the server asks for maint"}},
		{name: "a person's weight goes first", advice: weight(3), change: func(_ *conf.Service, s *State) {
			s.Admin = map[ServerID]Admin{{"web", "a"}: {Weight: new(uint32(7))}}
		}, want: ServerDecision{State: ServerUp, Weight: 7, InTable: true, Why: "weight 7 set"}},
		{name: "but takes no new clients against its will", advice: drain, change: func(_ *conf.Service, s *State) {
			s.Admin = map[ServerID]Admin{{"web", "a"}: {Weight: new(uint32(7))}}
		}, want: ServerDecision{State: ServerDrain, InTable: true, Why: "the server asks for drain"}},
		{name: "the file's 0 stands", advice: weight(3), change: func(v *conf.Service, _ *State) { v.Servers[0].Kernel.Weight = 0 },
			want: ServerDecision{State: ServerUp, InTable: true, Why: "configured with weight 0"}},
		{name: "the floor binds", advice: maint, change: func(v *conf.Service, _ *State) { v.MinHealthy = .5 },
			want: ServerDecision{State: ServerMaintenance, Weight: 10, InTable: true, Held: true, Why: "kept in service by min_healthy; the server asks for maint"}},
		{name: "and on weight 0", advice: weight(0), change: func(v *conf.Service, _ *State) { v.MinHealthy = .5 },
			want: ServerDecision{State: ServerUp, Weight: 10, InTable: true, Held: true, Why: "kept in service by min_healthy; the server asks for weight 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := service("web", vip, ipvsctl.TCP, rs1)
			svc.Servers[0].Kernel.Weight = 10
			var s State
			if c.change != nil {
				c.change(&svc, &s)
			}
			admin := s.Admin
			s = world(config(svc))
			s.Admin = admin
			s.Verdicts[spec(rs1, 80).Key()] = Verdict{State: health.Up, Since: t0, Advice: c.advice}
			c.want.Healthy, c.want.Since, c.want.Advice = true, t0, c.advice
			if diff := cmp.Diff(c.want, Plan(s).Services[0].Servers[0], ofServer); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, c := range []struct{ a, b, want health.Advice }{
		{none, weight(20), weight(20)}, {weight(20), weight(5), weight(5)}, {weight(0), drain, drain}, {drain, maint, maint},
		{weight(5), health.Advice{Kind: health.AdvisePercent, Value: 10}, health.Advice{Kind: health.AdvisePercent, Value: 10}}, {none, none, none},
	} {
		if got := lesser(c.a, c.b, 10); got != c.want {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
		if got := lesser(c.b, c.a, 10); got != c.want {
			t.Errorf("%v and %v: %v, want %v", c.b, c.a, got, c.want)
		}
	}
}

func TestRamp(t *testing.T) {
	const over = 20 * time.Second
	for _, c := range []struct {
		weight uint32
		after  time.Duration
		want   uint32
		next   time.Duration
	}{
		{100, 0, 1, time.Second}, {100, time.Second, 5, 2 * time.Second}, {100, 10*time.Second + time.Millisecond, 50, 11 * time.Second},
		{100, 19999 * time.Millisecond, 95, over}, {100, over, 100, 0}, {100, time.Hour, 100, 0}, {100, 100 * 365 * 24 * time.Hour, 100, 0},
		{100, -time.Hour, 1, time.Second},
		{2, 0, 1, 10 * time.Second}, {2, 10 * time.Second, 1, over}, {1, 0, 1, 0}, {0, 0, 0, 0}, {65535, time.Second, 3276, 2 * time.Second},
	} {
		w, next := ramp(c.weight, over, t0, t0.Add(c.after))
		if c.next == 0 != next.IsZero() || c.next != 0 && next != t0.Add(c.next) || w != c.want {
			t.Errorf("weight %d after %v: %d, next %v; want %d, %v", c.weight, c.after, w, next, c.want, c.next)
		}
	}
}

func TestPlanSlowStart(t *testing.T) {
	svc := service("web", vip, ipvsctl.TCP, rs1, rs2)
	for i := range svc.Servers {
		svc.Servers[i].Kernel.Weight = 40
	}
	svc.SlowStart, svc.Quorum = 20*time.Second, 60
	s := world(config(svc))
	s.judge(rs1, health.Up, t0.Add(-5*time.Second)) // found up
	s.Verdicts[spec(rs2, 80).Key()] = Verdict{State: health.Up, Since: t0.Add(-5 * time.Second), Recovered: t0.Add(-5 * time.Second)}
	d := Plan(s)
	if got := weights(s, d, rs1, rs2); !slices.Equal(got, []int{40, 10}) {
		t.Errorf("weights %v, want 40 and a quarter of it", got)
	}
	if x := d.Services[0]; d.Next != t0.Add(time.Second) || !x.Up || x.HealthyWeight != 80 {
		t.Errorf("next %v, %+v; slow start is no illness", d.Next, x)
	}
	s.Returned = map[ServerID]time.Time{{"web", "a"}: t0}
	if got := weights(s, Plan(s), rs1, rs2); !slices.Equal(got, []int{1, 10}) {
		t.Errorf("weights %v after maintenance", got)
	}
}

// A reload that exchanges all servers leaves the old ones until the new ones
// are judged.
func TestPlanLingers(t *testing.T) {
	svc := service("web", vip, ipvsctl.TCP, rs3, rs4)
	s := world(config(svc))
	s.Accepted = t0
	s.holds(svc, map[string]uint32{rs1: 3, rs2: 0})
	d := Plan(s)
	if got := weights(s, d, rs1, rs2, rs3, rs4); !slices.Equal(got, []int{3, -1, 0, 0}) {
		t.Errorf("weights %v", got)
	}
	if d.Next != t0.Add(JudgeLimit) {
		t.Errorf("next %v", d.Next)
	}
	s.judge(rs3, health.Down, t0)
	if got := weights(s, Plan(s), rs1); got[0] != 3 {
		t.Error("gone while a new one has no verdict")
	}
	s.judge(rs4, health.Down, t0)
	if got := weights(s, Plan(s), rs1); got[0] != -1 {
		t.Error("stays when all are judged")
	}
	s.judge(rs4, health.Up, t0)
	if got := weights(s, Plan(s), rs1, rs4); got[0] != -1 || got[1] != 1 {
		t.Error("stays when a new one is up", got)
	}
	delete(s.Verdicts, spec(rs4, 80).Key())
	s.Now = t0.Add(JudgeLimit)
	if got := weights(s, Plan(s), rs1); got[0] != -1 {
		t.Error("stays for ever")
	}
}

// anyPool draws a service with every rule about pools, and a state of it.
func anyPool(t *rapid.T) (State, []string) {
	all := []string{rs1, rs2, rs3, rs4}[:rapid.IntRange(1, 4).Draw(t, "servers")]
	svc := service("web", vip, rapid.SampledFrom([]ipvsctl.Protocol{ipvsctl.TCP, ipvsctl.UDP}).Draw(t, "protocol"), all...)
	var total uint32
	for i := range svc.Servers {
		svc.Servers[i].Kernel.Weight = uint32(rapid.IntRange(0, 30).Draw(t, "configured"))
		total += svc.Servers[i].Kernel.Weight
	}
	svc.Quorum = uint32(rapid.IntRange(1, int(max(1, total))).Draw(t, "quorum"))
	svc.QuorumHysteresis = uint32(rapid.IntRange(0, 10).Draw(t, "hysteresis"))
	svc.OnQuorumLoss = rapid.SampledFrom([]conf.OnQuorumLoss{conf.QuorumSorry, conf.QuorumKeep, conf.QuorumWithdraw}).Draw(t, "on_quorum_loss")
	if rapid.Bool().Draw(t, "sorry") {
		svc.Sorry = sorryServer()
	}
	svc.MinHealthy = float64(rapid.IntRange(0, 10).Draw(t, "share")) / 10
	svc.SlowStart = time.Duration(rapid.IntRange(0, 40).Draw(t, "slow")) * time.Second
	svc.RemoveAfter = new(time.Duration(rapid.IntRange(0, 60).Draw(t, "remove_after")) * time.Second)
	svc.StartUp = rapid.Bool().Draw(t, "start_up")
	s := world(config(svc))
	s.Accepted = t0.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "accepted")) * time.Second)
	s.Adopting = rapid.Bool().Draw(t, "adopting")
	s.Admin, s.Returned = map[ServerID]Admin{}, map[ServerID]time.Time{}
	if st := rapid.SampledFrom([]QuorumState{QuorumUnknown, QuorumMet, QuorumLost, 99}).Draw(t, "was"); st != 99 {
		s.Quorum = map[string]Quorum{"web": {st, t0.Add(-time.Minute)}}
	}
	held := map[string]uint32{}
	for i, a := range all {
		ago := t0.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "age")) * time.Second)
		switch rapid.IntRange(0, 2).Draw(t, "state") {
		case 1:
			v := Verdict{State: health.Up, Since: ago}
			if rapid.Bool().Draw(t, "recovered") {
				v.Recovered = ago
			}
			switch k := health.AdviceKind(rapid.IntRange(0, 8).Draw(t, "advice")); k {
			case health.AdviseWeight, health.AdvisePercent:
				v.Advice = health.Advice{Kind: k, Value: uint32(rapid.IntRange(0, 200).Draw(t, "value"))}
			case health.AdviseDrain, health.AdviseMaint:
				v.Advice.Kind = k
			case health.NoAdvice:
			}
			s.Verdicts[spec(a, 80).Key()] = v
		case 2:
			s.fails(a, rapid.SampledFrom(health.Reasons).Draw(t, "reason"), ago)
		}
		if rapid.Bool().Draw(t, "held") {
			held[a] = uint32(rapid.IntRange(0, 30).Draw(t, "kernel"))
		}
		id := ServerID{"web", svc.Servers[i].Name}
		var x Admin
		x.Mode = rapid.SampledFrom([]AdminMode{"", AdminReady, AdminDrain, AdminMaintenance}).Draw(t, "mode")
		x.ModeBy.Force = rapid.Bool().Draw(t, "force")
		if rapid.Bool().Draw(t, "weighted") {
			x.Weight = new(uint32(rapid.IntRange(0, 60).Draw(t, "weight")))
			x.WeightBy.Force = rapid.Bool().Draw(t, "force")
		}
		s.Admin[id] = x
		svc.Servers[i].Enabled = rapid.IntRange(0, 9).Draw(t, "enabled") > 0
	}
	for _, a := range []string{sorryAddr, "10.0.0.55"} {
		if rapid.IntRange(0, 3).Draw(t, "stranger") == 0 {
			held[a] = uint32(rapid.IntRange(0, 3).Draw(t, "kernel"))
		}
	}
	if rapid.Bool().Draw(t, "present") {
		s.holds(svc, held)
	}
	return s, all
}

// The floor holds on every path: whatever the checks say and people order,
// what min_healthy asks for serves as long as servers are left that it may keep.
func TestPlanFloorHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, all := anyPool(t)
		d := Plan(s)
		svc, dec := s.Topology.Services[0].Conf, d.Services[0]
		if svc.MinHealthy == 0 || dec.SorryActive {
			if dec.Floor.Held != 0 {
				t.Fatalf("floor %+v without need", dec.Floor)
			}
			return
		}
		var base, serving uint32
		spare := 0
		got := weights(s, d, all...)
		for i := range all {
			srv, x := &svc.Servers[i], &dec.Servers[i]
			if !srv.Enabled {
				continue
			}
			base += srv.Kernel.Weight
			a := s.Admin[ServerID{"web", srv.Name}]
			w := uint32(max(0, got[i]))
			v := s.Verdicts[spec(all[i], 80).Key()]
			full := srv.Kernel.Weight
			switch {
			case x.Held || a.aside() != "":
			case a.Weight != nil:
				full = *a.Weight
			case full > 0:
				full = v.Advice.Weight(full)
			}
			if v.State == health.Up && w > 0 {
				w = max(w, full) // slow start is no loss
			}
			serving += w
			// Whom may it still raise?
			switch {
			case a.aside() == AdminMaintenance, a.aside() == AdminDrain && (a.ModeBy.Force || v.State != health.Up), v.State == health.Unknown:
			case v.State == health.Down && rankOf(v.Failure) == rankHard && svc.Sorry != nil && svc.OnQuorumLoss == conf.QuorumSorry:
			case a.Weight != nil && a.aside() == "" && v.State == health.Up && a.WeightBy.Force:
			case w < srv.Kernel.Weight:
				spare++
			}
		}
		want := uint32(math.Ceil(svc.MinHealthy*float64(base) - 1e-6))
		if serving < want && spare > 0 {
			t.Fatalf("%d serves, %d is asked for, and %d servers could be raised: %v %+v", serving, want, spare, got, dec.Floor)
		}
	})
}

// A pool is never empty that need not be, and weight never adds up: applying a
// decision and deciding again, with time going on, brings no weight above what
// is configured or ordered.
func TestPlanNeverEmptiesNorAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, all := anyPool(t)
		svc := s.Topology.Services[0].Conf
		settling := 0
		for round := range 12 {
			d := Plan(s)
			got := weights(s, d, all...)
			sum := 0
			for i, w := range got {
				sum += max(0, w)
				limit := svc.Servers[i].Kernel.Weight
				if a := s.Admin[ServerID{"web", svc.Servers[i].Name}]; a.Weight != nil {
					limit = max(limit, *a.Weight)
				}
				if limit > 0 {
					limit = max(limit, s.Verdicts[spec(all[i], 80).Key()].Advice.Weight(svc.Servers[i].Kernel.Weight))
				}
				kept := s.Kernel[svc.Service.Key].Servers[svc.Servers[i].Kernel.Key].Weight
				if !d.Services[0].Servers[i].Keep && w > int(limit) {
					t.Fatalf("round %d: %s has weight %d, configured or ordered %d (kernel %d)", round, all[i], w, limit, kept)
				}
			}
			if got := weights(s, d, sorryAddr)[0]; d.Services[0].SorryActive != (got > 0) && svc.Sorry != nil {
				t.Fatalf("sorry active %v with weight %d", d.Services[0].SorryActive, got)
			} else if got > 0 {
				sum += got
			}
			if sum == 0 {
				for i := range all {
					srv, a := &svc.Servers[i], s.Admin[ServerID{"web", svc.Servers[i].Name}]
					v := s.Verdicts[spec(all[i], 80).Key()]
					if v.State == health.Up && v.Advice.Weight(1000) > 0 && srv.Enabled && a.aside() == "" &&
						(srv.Kernel.Weight > 0 && a.Weight == nil || a.Weight != nil && *a.Weight > 0) {
						t.Fatalf("round %d: empty though %s is up", round, all[i])
					}
				}
			}
			if d.Services[0].Quorum.State == QuorumLost && svc.OnQuorumLoss == conf.QuorumSorry && svc.Sorry != nil && sum == 0 {
				t.Fatalf("round %d: lost and nobody stands in", round)
			}
			// On the way there no state is empty that has weight before and after.
			table := ipvsctl.Table{}
			for k, e := range s.Kernel {
				table[k] = e.Clone()
			}
			weight := func() (n uint32) {
				for _, k := range table[svc.Service.Key].Servers {
					n += k.Weight
				}
				return n
			}
			before := weight()
			var low uint32 = math.MaxUint32
			for _, op := range ipvsctl.Diff(table, d.Goal(&s)) {
				table.Patch(op)
				low = min(low, weight())
			}
			if before > 0 && weight() > 0 && low == 0 {
				t.Fatalf("round %d: empty in between", round)
			}
			if again := ipvsctl.Diff(table, d.Goal(&s)); len(again) > 0 {
				t.Fatalf("round %d: a second pass writes %v", round, again)
			}
			s.Kernel = table
			s.Quorum = map[string]Quorum{"web": d.Services[0].Quorum}
			if d2 := Plan(s); fmt.Sprint(weights(s, d2, all...)) != fmt.Sprint(weights(s, d, all...)) {
				// A weight that was only hoped for may turn out as 0.
				if settling++; settling > 2 {
					t.Fatalf("round %d: does not come to rest on its own result: %v, then %v", round, weights(s, d, all...), weights(s, d2, all...))
				}
				continue
			}
			settling = 0
			if d.Next.IsZero() {
				return
			}
			if !d.Next.After(s.Now) {
				t.Fatalf("round %d: the next change is not in the future: %v", round, d.Next.Sub(s.Now))
			}
			s.Now = d.Next
		}
	})
}
