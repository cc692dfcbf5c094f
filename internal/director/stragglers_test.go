package director

import (
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

var other, third = netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")

// TestPlanStragglers: a backup knows where stragglers go before it needs it; a
// new master sends them back for 3 s; who was master takes them for 3 s.
func TestPlanStragglers(t *testing.T) {
	back := []Stragglers{{Instance: "edge", Interface: "eth0", Back: other}}
	take := []Stragglers{{Instance: "edge", Interface: "eth0", Take: true}}
	both := []Stragglers{{Instance: "edge", Interface: "eth0", Back: other, Take: true}}
	on := func(c *conf.Config) { c.IPVS.Stragglers = true }
	edge := []vrrp.Instance{{Name: "edge", Interface: "eth0"}}
	ago := func(d time.Duration) time.Time { return t0.Add(-d) }
	for _, c := range []struct {
		name string
		role Role
		edit func(*conf.Config)
		want []Stragglers
		next time.Duration
	}{
		{"backup", Role{State: vrrp.Backup, Was: vrrp.Init, Since: ago(time.Hour)}, on, back, 0},
		{"promotion", Role{State: vrrp.Master, Was: vrrp.Backup, Since: ago(time.Second)}, on, back, 2 * time.Second},
		{"promoted", Role{State: vrrp.Master, Was: vrrp.Backup, Since: ago(3 * time.Second)}, on, nil, 0},
		{"resumed", Role{State: vrrp.Master, Was: vrrp.Init, Since: t0}, on, nil, 0},
		{"releasing", Role{State: vrrp.Releasing, Was: vrrp.Master, Planned: true, Since: t0}, on, take, 0},
		{"stopped", Role{State: vrrp.Init, Was: vrrp.Releasing, Planned: true, Since: t0}, on, take, 3 * time.Second},
		{"yielded", Role{State: vrrp.Backup, Was: vrrp.Master, Planned: true, Since: ago(time.Second)}, on, both, 2 * time.Second},
		{"yielded long ago", Role{State: vrrp.Backup, Was: vrrp.Master, Planned: true, Since: ago(3 * time.Second)}, on, back, 0},
		{"cut off", Role{State: vrrp.Init, Was: vrrp.Master, Since: t0}, on, nil, 0},
		{"switched off", Role{State: vrrp.Backup, Since: t0}, func(*conf.Config) {}, nil, 0},
		{"sloppy_tcp", Role{State: vrrp.Backup, Since: t0}, func(c *conf.Config) {
			yes := true
			c.IPVS.Stragglers, c.IPVS.Sysctls.SloppyTCP = true, &yes
		}, nil, 0},
		{"no services", Role{State: vrrp.Backup, Since: t0}, func(c *conf.Config) { on(c); c.Services = nil }, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(service("web", vip, ipvsctl.TCP, rs1))
			cfg.VRRP = edge
			c.edit(cfg)
			s := world(cfg)
			for _, k := range s.Topology.Keys {
				s.Verdicts[k] = Verdict{State: health.Up, Since: t0.Add(-time.Hour)}
			}
			s.Roles["edge"], s.Masters = c.role, map[string]netip.Addr{"edge": other}
			d := Plan(s)
			if !reflect.DeepEqual(d.Stragglers, c.want) {
				t.Errorf("%+v, want %+v", d.Stragglers, c.want)
			}
			if c.next == 0 != d.Next.IsZero() || c.next != 0 && d.Next != t0.Add(c.next) {
				t.Errorf("next %v, want in %v", d.Next, c.next)
			}
			if s.Paused = true; len(Plan(s).Stragglers) > 0 {
				t.Error("in a pause")
			}
		})
	}
}

// TestStragglersFollowTheSpeaker: the director is told who is master, and hands on
// each new decision once; in a pause there is none, and the host is told.
func TestStragglersFollowTheSpeaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(service("web", vip, ipvsctl.TCP, rs1))
		cfg.IPVS.Stragglers = true
		cfg.VRRP = []vrrp.Instance{{Name: "edge", Interface: "eth0"}}
		h := newHouse(t, cfg)
		var mu sync.Mutex
		var got [][]Stragglers
		var paused atomic.Bool
		h.options = func(o *Options) {
			o.Stragglers = func(c *conf.Config, list []Stragglers) {
				mu.Lock()
				defer mu.Unlock()
				if c != cfg {
					t.Error("another configuration")
				}
				got = append(got, slices.Clone(list))
			}
			o.Paused = paused.Store
		}
		took := func() [][]Stragglers {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			defer func() { got = nil }()
			return got
		}
		h.start()
		defer h.end()
		edge := func(back netip.Addr, take bool) [][]Stragglers {
			return [][]Stragglers{{{Instance: "edge", Interface: "eth0", Back: back, Take: take}}}
		}
		want := func(when string, want [][]Stragglers) {
			t.Helper()
			if got := took(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		want("at the start", [][]Stragglers{nil})
		h.role(1, vrrp.Init, vrrp.Backup, false)
		want("nobody heard", nil)
		h.d.OnTransition(link.Transition{Seq: 2, Instance: "edge", From: vrrp.Backup, To: vrrp.Backup, Master: third, At: time.Now()})
		want("the master is known at once", edge(third, false))
		h.d.OnTransition(link.Transition{Seq: 3, Instance: "edge", From: vrrp.Backup, To: vrrp.Backup, Master: other, At: time.Now()})
		want("there is another one", edge(other, false))
		h.role(4, vrrp.Backup, vrrp.Master, true)
		want("promoted: as before", nil)
		time.Sleep(StragglerTime)
		want("3 s later", [][]Stragglers{nil})
		h.role(5, vrrp.Master, vrrp.Releasing, true)
		want("releasing", edge(netip.Addr{}, true))
		h.role(6, vrrp.Releasing, vrrp.Backup, true)
		want("released", edge(other, true))
		h.must(AdminRequest{Action: ActionPause})
		if want("paused", [][]Stragglers{nil}); !paused.Load() {
			t.Error("the host was not told of the pause")
		}
		h.must(AdminRequest{Action: ActionResume})
		if want("resumed", edge(other, true)); paused.Load() {
			t.Error("the host was not told of the end")
		}
		time.Sleep(StragglerTime)
		want("nothing comes any more", edge(other, false))
	})
}

// TestStragglersAfterARestart: a director that starts while the speaker is backup
// learns from its status who is master.
func TestStragglersAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(service("web", vip, ipvsctl.TCP, rs1))
		cfg.IPVS.Stragglers = true
		cfg.VRRP = []vrrp.Instance{{Name: "edge", Interface: "eth0"}}
		h := newHouse(t, cfg)
		h.speaker.status.Instances = []link.InstanceStatus{{Name: "edge", State: vrrp.Backup, MasterSource: other}}
		var mu sync.Mutex
		var got []Stragglers
		h.options = func(o *Options) {
			o.Stragglers = func(_ *conf.Config, list []Stragglers) {
				mu.Lock()
				defer mu.Unlock()
				got = slices.Clone(list)
			}
		}
		h.start()
		defer h.end()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []Stragglers{{Instance: "edge", Interface: "eth0", Back: other}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
