package director

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// someServices share most of their servers' checks.
func someServices(r *rand.Rand) *conf.Config {
	all := []string{rs1, rs2, rs3, rs4, "10.0.0.5", "10.0.0.6"}
	c := config()
	c.IPVS.ReconcileInterval = time.Minute
	for i := range 3 {
		s := service(fmt.Sprint("web", i), vip, ipvsctl.TCP, all[r.IntN(2):4+r.IntN(3)]...)
		s.Service.Key.Port += uint16(i)
		s.StartUp = r.IntN(2) == 0
		for j := range s.Servers {
			s.Servers[j].Kernel.Weight = 1 + uint32(r.IntN(20))
			s.Servers[j].Enabled = r.IntN(12) > 0
		}
		if r.IntN(3) == 0 { // two servers of one service are judged by one check
			s.Servers[1].Checks = s.Servers[0].Checks
		}
		if r.IntN(2) == 0 {
			s.MinHealthy = float64(r.IntN(8)) / 10
		}
		if r.IntN(2) == 0 {
			s.Quorum, s.QuorumHysteresis = 1+uint32(r.IntN(30)), uint32(r.IntN(5))
		}
		if r.IntN(3) == 0 {
			s.Sorry, s.OnQuorumLoss = sorryServer(), conf.QuorumSorry
		}
		if r.IntN(3) == 0 {
			s.SlowStart = time.Duration(r.IntN(30)) * time.Second
		}
		if r.IntN(3) == 0 {
			s.RemoveAfter = new(time.Duration(r.IntN(20)) * time.Second)
		}
		c.Services = append(c.Services, s)
	}
	return c
}

// TestSeries: whatever happens, in whatever order, the loop decides as Plan
// does from nothing (house.consistent, after each event), and the kernel comes
// to hold that.
func TestSeries(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { series(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func series(t *testing.T, r *rand.Rand) {
	h := newHouse(t, someServices(r))
	h.start()
	defer func() { h.end() }()
	ctx := t.Context()
	keys := func() []health.Key { return NewTopology(h.conf).Keys }
	verdict := func(k health.Key) {
		c := health.Change{Key: k, At: time.Now(), To: health.Up}
		switch r.IntN(5) {
		case 0, 1:
			c.To, c.Failure = health.Down, &health.Failure{Reason: health.Reasons[r.IntN(len(health.Reasons))], Detail: "so"}
		case 2:
			c.Advice = health.Advice{Kind: health.AdvisePercent, Value: uint32(r.IntN(150))}
		}
		h.d.OnChange(c)
	}
	for _, k := range keys() {
		h.d.OnChange(health.Change{Key: k, To: health.Up, At: time.Now()})
	}
	h.wait(time.Second)
	for range 40 {
		switch r.IntN(10) {
		case 0: // a burst
			for range 5 {
				verdict(keys()[r.IntN(len(keys()))])
			}
		case 1:
			s := &h.conf.Services[r.IntN(len(h.conf.Services))]
			q := AdminRequest{Owner: "ann", Force: r.IntN(2) == 0, Targets: []string{s.Name + "/" + s.Servers[r.IntN(len(s.Servers))].Name},
				Action: []AdminAction{ActionDrain, ActionMaintenance, ActionReady, ActionReady, ActionWeight}[r.IntN(5)]}
			if r.IntN(2) == 0 {
				q.For = time.Duration(1+r.IntN(20)) * time.Second
			}
			if q.Action == ActionWeight {
				q.Weight = new(uint32(r.IntN(20)))
			}
			_, _ = h.ask(q) // it may be refused
		case 2:
			if r.IntN(3) == 0 {
				h.conf = someServices(r)
				if err := h.d.Reload(ctx); err != nil {
					t.Fatal(err)
				}
			}
		case 3: // somebody else changes a weight
			s := &h.conf.Services[r.IntN(len(h.conf.Services))]
			x := s.Servers[r.IntN(len(s.Servers))].Kernel
			x.Weight = uint32(r.IntN(5))
			h.kernel.Apply(ctx, []ipvsctl.Op{{Kind: ipvsctl.SetServer, Service: s.Service, Server: x}})
		case 4:
			h.wait(time.Duration(r.IntN(40_000)) * time.Millisecond)
		default:
			verdict(keys()[r.IntN(len(keys()))])
		}
		h.wait(time.Duration(r.IntN(3)) * 30 * time.Millisecond)
		h.consistent()
	}
	h.wait(5 * time.Minute) // all comparisons, the contended ones too
	var left []ipvsctl.Op
	err := h.d.do(ctx, func() {
		s := h.d.state(time.Now())
		want := Plan(s)
		now, err := h.kernel.Dump(context.Background())
		if err != nil {
			t.Error(err)
		}
		left = ipvsctl.Diff(now, want.Goal(&s))
	})
	if err != nil || len(left) > 0 {
		t.Error("left to do: ", left, err)
	}
}
