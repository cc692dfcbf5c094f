package director

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// spec is a TCP check of one server.
func spec(server string, port uint16) health.Spec {
	return health.Spec{Target: netip.AddrPortFrom(addr(server), port), Method: &health.Method{Type: health.TCP, Interval: time.Second, Timeout: time.Second, Rise: 1, Fall: 1}}
}

// service with the given servers, weight 1 each, one TCP check per server.
func service(name, vip string, proto ipvsctl.Protocol, servers ...string) conf.Service {
	s := conf.Service{
		Name:      name,
		Service:   ipvsctl.Service{Key: ipvsctl.ServiceKey{Protocol: proto, Addr: addr(vip), Port: 80, Family: 4}, Scheduler: "rr"},
		OnFailure: conf.FailQuiesce,
	}
	for i, a := range servers {
		s.Servers = append(s.Servers, conf.Server{
			Name: string(rune('a' + i)), Enabled: true,
			Kernel: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: addr(a), Port: 80}, Forward: ipvsctl.Direct, Weight: 1},
			Checks: []conf.Check{{Name: "tcp", Spec: spec(a, 80)}},
		})
	}
	return s
}

func config(services ...conf.Service) *conf.Config {
	return &conf.Config{Node: "lb1", IPVS: conf.IPVS{Adopt: true, OnStop: conf.StopKeep, ReconcileInterval: 10 * time.Second}, Services: services}
}

// ofServer leaves out of a comparison what a decision notes for itself.
var ofServer = cmpopts.IgnoreUnexported(ServerDecision{})

// world is a State under construction.
func world(c *conf.Config) State {
	return State{Now: t0, Topology: NewTopology(c), Verdicts: map[health.Key]Verdict{}, Roles: map[string]Role{}}
}

func (s *State) judge(server string, st health.State, since time.Time) {
	v := Verdict{State: st, Since: since}
	if st == health.Down {
		v.Failure = &health.Failure{Reason: health.ReasonRefused, Detail: "connection refused"}
	}
	s.Verdicts[spec(server, 80).Key()] = v
}

// holds puts the service into the kernel's table with the given weights by server address.
func (s *State) holds(svc conf.Service, weights map[string]uint32) {
	if s.Kernel == nil {
		s.Kernel = ipvsctl.Table{}
	}
	e := ipvsctl.Entry{Service: svc.Service, Servers: map[ipvsctl.ServerKey]ipvsctl.Server{}}
	for a, w := range weights {
		k := ipvsctl.ServerKey{Addr: addr(a), Port: 80}
		e.Servers[k] = ipvsctl.Server{Key: k, Forward: ipvsctl.Direct, Weight: w}
	}
	s.Kernel[svc.Service.Key] = e
}

const (
	vip = "192.0.2.10"
	rs1 = "10.0.0.21"
	rs2 = "10.0.0.22"
)

func TestPlanServer(t *testing.T) {
	long := 30 * time.Second
	for _, c := range []struct {
		name    string
		change  func(*conf.Config)
		verdict health.State // of rs1
		age     time.Duration
		held    map[string]uint32 // nil: the kernel lacks the service
		adopt   bool
		want    ServerDecision
		next    time.Duration // from now; 0 for never
	}{
		{name: "up", verdict: health.Up, want: ServerDecision{State: ServerUp, Healthy: true, InTable: true, Weight: 1}},
		{name: "down keeps weight 0 for ever without remove_after", verdict: health.Down, age: time.Hour,
			want: ServerDecision{State: ServerDown, InTable: true, Why: "check tcp: connection refused"}},
		{name: "down before remove_after", change: func(c *conf.Config) { c.Services[0].RemoveAfter = &long }, verdict: health.Down, age: 10 * time.Second,
			want: ServerDecision{State: ServerDown, InTable: true, Why: "check tcp: connection refused"}, next: 20 * time.Second},
		{name: "down after remove_after", change: func(c *conf.Config) { c.Services[0].RemoveAfter = &long }, verdict: health.Down, age: long,
			want: ServerDecision{State: ServerDown, Why: "check tcp: connection refused"}},
		{name: "remove at once", change: func(c *conf.Config) { c.Services[0].OnFailure = conf.FailRemove }, verdict: health.Down,
			want: ServerDecision{State: ServerDown, Why: "check tcp: connection refused"}},
		{name: "persistence removes at once", change: func(c *conf.Config) { c.Services[0].Service.Flags = ipvsctl.FlagPersistent }, verdict: health.Down,
			want: ServerDecision{State: ServerDown, Why: "check tcp: connection refused"}},
		{name: "UDP removes at once", change: func(c *conf.Config) { c.Services[0].Service.Key.Protocol = ipvsctl.UDP }, verdict: health.Down,
			want: ServerDecision{State: ServerDown, Why: "check tcp: connection refused"}},
		{name: "unknown and new starts at weight 0",
			want: ServerDecision{State: ServerPending, InTable: true, Keep: true, Why: "waits for the first result of check tcp"}},
		{name: "unknown keeps what the kernel has", held: map[string]uint32{rs1: 7}, adopt: true,
			want: ServerDecision{State: ServerPending, InTable: true, Keep: true, Why: "waits for the first result of check tcp"}},
		{name: "unknown and removed earlier waits", held: map[string]uint32{rs2: 1}, adopt: true,
			want: ServerDecision{State: ServerPending, Why: "waits for the first result of check tcp"}},
		{name: "unknown and added by a reload", held: map[string]uint32{rs2: 1},
			want: ServerDecision{State: ServerPending, InTable: true, Keep: true, Why: "waits for the first result of check tcp"}},
		{name: "start up", change: func(c *conf.Config) { c.Services[0].StartUp = true },
			want: ServerDecision{State: ServerPending, InTable: true, Weight: 1, Keep: true, Why: "waits for the first result of check tcp"}},
		{name: "start up does not revive a removed server", change: func(c *conf.Config) { c.Services[0].StartUp = true }, held: map[string]uint32{rs2: 1}, adopt: true,
			want: ServerDecision{State: ServerPending, Weight: 1, Why: "waits for the first result of check tcp"}},
		{name: "no adoption", change: func(c *conf.Config) { c.IPVS.Adopt = false }, held: map[string]uint32{rs1: 7}, adopt: true,
			want: ServerDecision{State: ServerPending, InTable: true, Why: "waits for the first result of check tcp"}},
		{name: "disabled", change: func(c *conf.Config) { c.Services[0].Servers[0].Enabled = false }, verdict: health.Up,
			want: ServerDecision{State: ServerMaintenance, InTable: true, Why: "disabled in the configuration"}},
		{name: "configured weight 0", change: func(c *conf.Config) { c.Services[0].Servers[0].Kernel.Weight = 0 }, verdict: health.Up,
			want: ServerDecision{State: ServerUp, Healthy: true, InTable: true, Why: "configured with weight 0"}},
		{name: "without checks", change: func(c *conf.Config) { c.Services[0].Servers[0].Checks = nil },
			want: ServerDecision{State: ServerUp, Healthy: true, InTable: true, Weight: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(service("web", vip, ipvsctl.TCP, rs1))
			if c.change != nil {
				c.change(cfg)
			}
			s := world(cfg)
			s.Adopting = c.adopt
			if c.verdict != health.Unknown {
				s.judge(rs1, c.verdict, t0.Add(-c.age))
				if c.want.State == ServerDown || c.want.State == ServerUp && len(cfg.Services[0].Servers[0].Checks) > 0 {
					c.want.Since = t0.Add(-c.age)
				}
			}
			if c.held != nil {
				s.holds(cfg.Services[0], c.held)
			}
			d := Plan(s)
			if diff := cmp.Diff(c.want, d.Services[0].Servers[0], ofServer); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
			var next time.Duration
			if !d.Next.IsZero() {
				next = d.Next.Sub(t0)
			}
			if next != c.next {
				t.Errorf("next change in %v, want %v", next, c.next)
			}
			got, in := d.Goal(&s).Table[cfg.Services[0].Service.Key].Servers[ipvsctl.ServerKey{Addr: addr(rs1), Port: 80}]
			if in != c.want.InTable || got.Weight != map[bool]uint32{true: c.want.Weight}[in] {
				t.Errorf("goal has it %v with weight %d, want %v with %d", in, got.Weight, c.want.InTable, c.want.Weight)
			}
		})
	}
}

func TestPlanAllChecksMustPass(t *testing.T) {
	cfg := config(service("web", vip, ipvsctl.TCP, rs1))
	other := spec(rs1, 81)
	cfg.Services[0].Servers[0].Checks = append(cfg.Services[0].Servers[0].Checks, conf.Check{Name: "second", Spec: other})
	for _, c := range []struct {
		first, second health.State
		want          ServerState
	}{
		{health.Up, health.Up, ServerUp}, {health.Up, health.Down, ServerDown}, {health.Down, health.Up, ServerDown},
		{health.Up, health.Unknown, ServerPending}, {health.Unknown, health.Down, ServerDown}, {health.Down, health.Unknown, ServerDown},
	} {
		s := world(cfg)
		s.Verdicts[spec(rs1, 80).Key()] = Verdict{State: c.first, Since: t0}
		s.Verdicts[other.Key()] = Verdict{State: c.second, Since: t0}
		if got := Plan(s).Services[0].Servers[0].State; got != c.want {
			t.Errorf("%v and %v: %v, want %v", c.first, c.second, got, c.want)
		}
	}
}

func TestPlanServiceWeights(t *testing.T) {
	cfg := config(service("web", vip, ipvsctl.TCP, rs1, rs2))
	cfg.Services[0].Servers[0].Kernel.Weight = 10
	cfg.Services[0].Servers[1].Kernel.Weight = 5
	s := world(cfg)
	s.judge(rs1, health.Up, t0)
	s.judge(rs2, health.Down, t0)
	d := Plan(s).Services[0]
	if !d.Up || d.HealthyWeight != 10 || d.ConfiguredWeight != 15 {
		t.Errorf("up %v with %d of %d, want up with 10 of 15", d.Up, d.HealthyWeight, d.ConfiguredWeight)
	}
	s.judge(rs1, health.Down, t0)
	if Plan(s).Services[0].Up {
		t.Error("up without a healthy server")
	}
}

func TestPlanJudgedAndSettled(t *testing.T) {
	cfg := config(service("web", vip, ipvsctl.TCP, rs1))
	s := world(cfg)
	if d := Plan(s); d.Judged || d.Settled {
		t.Errorf("without a verdict: judged %v, settled %v", d.Judged, d.Settled)
	}
	cfg.Services[0].StartUp = true
	s = world(cfg)
	if d := Plan(s); !d.Judged || d.Settled {
		t.Errorf("start up: judged %v, settled %v; want judged and not settled", d.Judged, d.Settled)
	}
	s.judge(rs1, health.Down, t0)
	if d := Plan(s); !d.Judged || !d.Settled {
		t.Errorf("with a verdict: judged %v, settled %v", d.Judged, d.Settled)
	}
}

func TestPlanSyncDaemon(t *testing.T) {
	const m, b = ipvsctl.RoleMaster, ipvsctl.RoleBackup
	for _, c := range []struct {
		name string
		role *Role
		want []ipvsctl.Role // nil with managed false: hands off
		next time.Duration
	}{
		{"role not known yet", nil, nil, 0},
		{"init", &Role{State: vrrp.Init, Since: t0.Add(-time.Hour)}, []ipvsctl.Role{b}, 0},
		{"backup", &Role{State: vrrp.Backup, Was: vrrp.Init, Since: t0}, []ipvsctl.Role{b}, 0},
		{"promotion: both for 3 s", &Role{State: vrrp.Master, Was: vrrp.Backup, Since: t0.Add(-time.Second)}, []ipvsctl.Role{m, b}, 2 * time.Second},
		{"promoted", &Role{State: vrrp.Master, Was: vrrp.Backup, Since: t0.Add(-3 * time.Second)}, []ipvsctl.Role{m}, 0},
		{"releasing still serves", &Role{State: vrrp.Releasing, Was: vrrp.Master, Planned: true, Since: t0}, []ipvsctl.Role{m}, 0},
		{"planned demotion: both for 3 s", &Role{State: vrrp.Backup, Was: vrrp.Master, Planned: true, Since: t0}, []ipvsctl.Role{b, m}, 3 * time.Second},
		{"released", &Role{State: vrrp.Init, Was: vrrp.Releasing, Planned: true, Since: t0}, []ipvsctl.Role{b, m}, 3 * time.Second},
		{"planned demotion done", &Role{State: vrrp.Backup, Was: vrrp.Master, Planned: true, Since: t0.Add(-3 * time.Second)}, []ipvsctl.Role{b}, 0},
		{"fault", &Role{State: vrrp.Fault, Was: vrrp.Master, Since: t0}, []ipvsctl.Role{b}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			cfg.Sync = &conf.Sync{Interface: "eth1", ID: 51, Follow: "edge"}
			s := world(cfg)
			if c.role != nil {
				s.Roles["edge"] = *c.role
			}
			d := Plan(s)
			var got []ipvsctl.Role
			for _, x := range d.Daemons {
				got = append(got, x.Role)
				if x.Interface != "eth1" || x.ID != 51 {
					t.Errorf("daemon %+v", x)
				}
			}
			if d.ManageDaemons != (c.role != nil) || !slices.Equal(got, c.want) {
				t.Errorf("managed %v, roles %v; want %v", d.ManageDaemons, got, c.want)
			}
			if c.next == 0 != d.Next.IsZero() || c.next != 0 && d.Next != t0.Add(c.next) {
				t.Errorf("next %v, want in %v", d.Next, c.next)
			}
		})
	}
}

// A server that is not down is never taken out, whatever the rest of the state.
func TestPlanNeverRemovesTheHealthy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		after := rapid.Ptr(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(0, 60).Draw(t, "remove_after")) * time.Second
		}), true).Draw(t, "after")
		svc := service("web", vip, rapid.SampledFrom([]ipvsctl.Protocol{ipvsctl.TCP, ipvsctl.UDP}).Draw(t, "protocol"), rs1, rs2)
		svc.RemoveAfter = after
		svc.StartUp = rapid.Bool().Draw(t, "start_up")
		svc.OnFailure = rapid.SampledFrom([]conf.OnFailure{conf.FailQuiesce, conf.FailRemove}).Draw(t, "on_failure")
		s := world(config(svc))
		s.Adopting = rapid.Bool().Draw(t, "adopting")
		states := map[string]health.State{}
		held := map[string]uint32{}
		for _, a := range []string{rs1, rs2} {
			states[a] = rapid.SampledFrom([]health.State{health.Unknown, health.Up, health.Down}).Draw(t, "state")
			if states[a] != health.Unknown {
				s.judge(a, states[a], t0.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "age"))*time.Second))
			}
			if rapid.Bool().Draw(t, "held") {
				held[a] = uint32(rapid.IntRange(0, 5).Draw(t, "weight"))
			}
		}
		if rapid.Bool().Draw(t, "in_kernel") {
			s.holds(svc, held)
		} else {
			held = map[string]uint32{}
		}
		d := Plan(s)
		for i, a := range []string{rs1, rs2} {
			x := d.Services[0].Servers[i]
			_, was := held[a]
			switch states[a] {
			case health.Up:
				if !x.InTable || x.Weight != 1 || x.Keep {
					t.Fatalf("%s is up but decided %+v", a, x)
				}
			case health.Down:
				if x.Weight != 0 || x.Keep {
					t.Fatalf("%s is down but decided %+v", a, x)
				}
			case health.Unknown:
				if was && (!x.InTable || !x.Keep) {
					t.Fatalf("%s is unknown and held but decided %+v", a, x)
				}
			}
		}
		if again := Plan(s); !reflect.DeepEqual(d, again) {
			t.Fatal("two decisions on one state differ")
		}
	})
}
