package e2e

import (
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestServerFailure: a server that fails in one of four ways gets weight 0 in
// both directors' kernels, gets nothing any more, and comes back.
func TestServerFailure(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.set.Check, s.set.Fall, s.set.Rise = "http", 2, 2
	s.set.CheckTimeout = 150 * time.Millisecond
	s.start()
	ld := s.load(lab.LoadOptions{})
	web2 := s.Servers[1]
	for _, tt := range []struct {
		name         string
		fail, repair func() error
		reason       string
		// limit: fall checks, and for silent failures the timeout
		limit time.Duration
	}{
		{"crash", func() error { return web2.Kill(s.ctx) }, func() error { return web2.Start(s.ctx) }, "refused", 500 * time.Millisecond},
		{"blackhole", web2.Mute, web2.Unmute, "timeout", 700 * time.Millisecond},
		{"hang", web2.Freeze, web2.Thaw, "timeout", 700 * time.Millisecond},
		{"wrong status", web2.Break, web2.Repair, "status", 500 * time.Millisecond},
	} {
		failed := time.Now()
		s.must(tt.fail())
		s.weights(s.lvs1, s.with(2, 0))
		took := time.Since(failed)
		if took > allowed(tt.limit) {
			t.Errorf("%s: weight 0 after %s, want at most %s", tt.name, took, tt.limit)
		}
		s.weights(s.lvs2, s.with(2, 0))
		after := time.Now()
		s.answered(ld, after, 50)
		sum := s.decided(ld, after)
		if sum.Failed > 0 || sum.Servers["web2"] > 0 || sum.Servers["web1"] == 0 || sum.Servers["web3"] == 0 {
			t.Errorf("%s: after weight 0: %s", tt.name, sum)
		}
		for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
			s.metric(d, 2*time.Second, is(0), "lvs_ha_server_up", "service", "web", "server", "web2")
			s.metric(d, 2*time.Second, is(0), "lvs_ha_server_weight", "service", "web", "server", "web2")
			s.metric(d, 2*time.Second, atLeast(2), "lvs_ha_check_failures_total", "service", "web", "reason", tt.reason)
		}
		repaired := time.Now()
		s.must(tt.repair())
		s.weights(s.lvs1, s.up())
		if back := time.Since(repaired); back > allowed(1500*time.Millisecond) {
			t.Errorf("%s: weight 1 only after %s", tt.name, back)
		}
		s.weights(s.lvs2, s.up())
		back := time.Now()
		s.answered(ld, back, 50)
		if sum := s.decided(ld, back); sum.Failed > 0 || sum.Servers["web2"] == 0 {
			t.Errorf("%s: after the repair: %s", tt.name, sum)
		}
		t.Logf("%s: weight 0 after %s", tt.name, took.Round(time.Millisecond))
	}
	s.metric(s.lvs1, 2*time.Second, is(4), "lvs_ha_server_transitions_total", "service", "web", "server", "web2", "to", "down")
}

// TestUDPServerFailure: weight 0 does not stop datagrams of a flow that is
// known, so a failed server of a UDP service leaves the table.
func TestUDPServerFailure(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 2})
	s.set.UDPCheck = true
	s.start()
	ld := s.load(lab.LoadOptions{UDP: true, Every: 5 * time.Millisecond})
	count := func(want int) func() error {
		return func() error {
			table, err := s.lvs1.Host().Table()
			if err != nil {
				return err
			}
			for _, svc := range table {
				if svc.Protocol == "UDP" && len(svc.Servers) == want {
					return nil
				}
			}
			return errorf("table %v", table)
		}
	}
	for _, srv := range s.Servers {
		s.must(srv.Kill(s.ctx))
		s.within(3*time.Second, srv.Name+" leaves the UDP service", count(1))
		s.must(srv.Start(s.ctx))
		s.within(3*time.Second, srv.Name+" is back in the UDP service", count(2))
	}
	s.answered(ld, time.Now(), 20)
}

// TestAllServersDown: weight 0 for all, the service stays, and it comes back.
func TestAllServersDown(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 2})
	s.start()
	none := s.up()
	for i, srv := range s.Servers {
		s.must(srv.Kill(s.ctx))
		none[s.Servers[i].Addr] = 0
	}
	s.weights(s.lvs1, none)
	s.metric(s.lvs1, 2*time.Second, is(0), "lvs_ha_service_up", "service", "web")
	s.must(s.StartServers(s.ctx))
	s.weights(s.lvs1, s.up())
	s.metric(s.lvs1, 2*time.Second, is(1), "lvs_ha_service_up", "service", "web")
}
