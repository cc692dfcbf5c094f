package e2e

import (
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

const (
	advert = 100 * time.Millisecond
	// takeover is the master-down interval of priority 100 (RFC 9568 section
	// 6.1) with some room for a machine that has other things to do.
	takeover = 3*advert + advert*(256-100)/256 + 60*time.Millisecond
	// lifetime of a VIP: max(5 s, 2 × master-down interval).
	lifetime = 5 * time.Second
)

// straddle is the gap that one lost request leaves. When the VIP moves, a
// connection in the middle of its handshake is lost: one director saw its
// first packet, the other sees the next, and the kernel tells of a connection
// only after its third.
const straddle = 30 * time.Millisecond

type event struct {
	mode lab.Mode
	// gone ends lvs1's mastership, back brings lvs1 back.
	gone, back func(*scene) error
	// limit until lvs2 is master.
	limit time.Duration
	// clients may notice: requests fail until lvs2 is master, no longer.
	noticed bool
	// returnGap is what the return may cost clients: straddle, but for a
	// director that was master all along on its own side.
	returnGap time.Duration
	// dead: the agent is; silent: it does not know that nobody hears it.
	dead, silent bool
}

// How lvs1 goes and comes back.
func kill(s *scene) error { return s.lvs1.Kill(s.ctx) }
func stop(s *scene) error {
	code, err := s.lvs1.Stop(s.ctx)
	if err == nil && code != 0 {
		err = errorf("SIGTERM ended with exit status %d", code)
	}
	return err
}
func again(s *scene) error  { return s.lvs1.Start() }
func cut(s *scene) error    { return s.lvs1.Host().Cut() }
func mend(s *scene) error   { return s.lvs1.Host().Mend() }
func mute(s *scene) error   { return s.lvs1.Host().Mute() }
func unmute(s *scene) error { return s.lvs1.Host().Unmute() }

// TestFailover…: the master goes, the backup takes over with every connection
// alive and the sync daemons in their roles; the master returns, likewise.
// Each way is a test of its own, so that guests side by side can share them.

func TestFailoverKilled(t *testing.T) {
	event{mode: lab.DR, gone: kill, back: again, limit: takeover, dead: true}.run(t)
}

func TestFailoverStopped(t *testing.T) {
	event{mode: lab.DR, gone: stop, back: again, limit: takeover - 3*advert}.run(t)
}

func TestFailoverCableCut(t *testing.T) {
	event{mode: lab.DR, gone: cut, back: mend, limit: takeover, noticed: true}.run(t)
}

func TestFailoverPortSilent(t *testing.T) {
	event{mode: lab.DR, gone: mute, back: unmute, limit: takeover, noticed: true, silent: true, returnGap: 1500 * time.Millisecond}.run(t)
}

func TestFailoverNATKilled(t *testing.T) {
	event{mode: lab.NAT, gone: kill, back: again, limit: takeover, dead: true}.run(t)
}

func TestFailoverNATStopped(t *testing.T) {
	event{mode: lab.NAT, gone: stop, back: again, limit: takeover - 3*advert}.run(t)
}

func TestFailoverNATCableCut(t *testing.T) {
	event{mode: lab.NAT, gone: cut, back: mend, limit: takeover, noticed: true}.run(t)
}

func TestFailoverTUNStopped(t *testing.T) {
	event{mode: lab.TUN, gone: stop, back: again, limit: takeover - 3*advert}.run(t)
}

func (e event) run(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "ipvsadm")
	s := open(t, lab.Options{Mode: e.mode, Servers: 3})
	s.set.Advert = advert
	s.start()
	s.awaitDaemons(s.lvs1, "master")
	s.awaitDaemons(s.lvs2, "backup")
	conns := s.hold()
	ld := s.load(lab.LoadOptions{})

	gone := time.Now()
	done := make(chan error, 1)
	go func() { done <- e.gone(s) }()
	ad, err := s.sniffer.Await(s.ctx, "lvs2 is master", gone, func(a lab.Advert) bool { return a.From == s.lvs2.Addr() && a.Priority > 0 })
	s.must(err)
	took := ad.At.Sub(gone)
	if took > allowed(e.limit) {
		t.Errorf("takeover took %s, want at most %s", took, e.limit)
	}
	s.must(<-done)
	s.vip(s.lvs2, true, 5*time.Second)
	has := time.Now()
	s.within(time.Second, "the VIP is announced", func() error {
		for _, g := range s.sniffer.Announcements(gone) {
			if g.Addr == lab.VIP {
				return nil
			}
		}
		return errorf("no gratuitous ARP")
	})
	s.answered(ld, has, 20)
	sum := s.decided(ld, gone)
	s.end(ld)
	t.Logf("takeover after %s; requests: %s", took.Round(time.Millisecond), sum)
	switch {
	case !e.noticed && (sum.Failed > 1 || sum.WorstGap > allowed(straddle)):
		t.Errorf("clients noticed: %s", sum)
	case e.noticed && sum.LastFailure.After(has.Add(allowed(20*time.Millisecond))):
		t.Errorf("requests still failed %s after lvs2 had the VIP: %s", sum.LastFailure.Sub(has), sum)
	}
	switch {
	case e.silent:
		// Nobody told lvs1: it goes on as master on its own side.
	case !e.dead:
		s.vip(s.lvs1, false, 3*time.Second)
	case e.mode == lab.DR:
		s.vip(s.lvs1, false, lifetime+time.Second-time.Since(gone))
		if early := time.Since(gone); early < lifetime/2 {
			t.Errorf("the VIP went after %s already: somebody removed it", early)
		}
	}
	s.verify(conns, "after the failover")
	// Both run for 3 s, so that nothing unsent is lost.
	s.awaitDaemons(s.lvs2, "master")
	s.metric(s.lvs2, 2*time.Second, is(1), "lvs_ha_sync_daemon_running", "role", "master")
	s.metric(s.lvs2, 2*time.Second, atLeast(1), "lvs_ha_vrrp_transitions_total", "to", "master")

	ld = s.load(lab.LoadOptions{})
	back := time.Now()
	s.must(e.back(s))
	s.serving(s.lvs1)
	s.vip(s.lvs2, false, 5*time.Second)
	returned := time.Now()
	s.answered(ld, returned, 20)
	sum = s.decided(ld, back)
	s.end(ld)
	t.Logf("back after %s; requests: %s", returned.Sub(back).Round(time.Millisecond), sum)
	switch {
	case sum.LastFailure.After(returned.Add(allowed(20 * time.Millisecond))):
		t.Errorf("requests still failed after the return: %s", sum)
	case sum.WorstGap > allowed(max(e.returnGap, straddle)):
		t.Errorf("clients noticed the return: %s", sum)
	}
	s.verify(conns, "after the return")
	s.awaitDaemons(s.lvs1, "master")
	s.awaitDaemons(s.lvs2, "backup")
	if ads := s.sniffer.Adverts(returned.Add(advert)); len(ads) > 0 {
		for _, a := range ads {
			if a.From != s.lvs1.Addr() {
				t.Errorf("%s still advertises after the return", a.From)
				break
			}
		}
	}
}

// TestGatewayMoves: in NAT mode the address that the servers route through
// moves with the VIP, and both carry a lifetime.
func TestGatewayMoves(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.NAT, Servers: 1})
	s.start()
	holds := func(d *lab.Director, ifname string) error {
		list, err := d.Host().Addresses(ifname)
		if err != nil {
			return err
		}
		for _, a := range list {
			if a.Prefix.Addr() == lab.Gateway || a.Prefix.Addr() == lab.VIP {
				if a.Valid > lifetime || a.Valid <= 0 || a.Prefix.Bits() != 32 {
					return errorf("%+v", a)
				}
				return nil
			}
		}
		return errorf("not on %s of %s: %v", ifname, d.Host().Name, list)
	}
	s.within(3*time.Second, "VIP on lvs1", func() error { return holds(s.lvs1, "eth0") })
	s.within(3*time.Second, "gateway on lvs1", func() error { return holds(s.lvs1, "eth1") })
	// Renewed: longer than the lifetime it stays.
	from := time.Now()
	for time.Since(from) < lifetime+2*time.Second {
		s.must(holds(s.lvs1, "eth0"))
		s.must(holds(s.lvs1, "eth1"))
		s.must(lab.Pause(s.ctx, 100*time.Millisecond))
	}
	_, err := s.lvs1.Stop(s.ctx)
	s.must(err)
	s.within(3*time.Second, "gateway on lvs2", func() error { return holds(s.lvs2, "eth1") })
	if err := holds(s.lvs1, "eth1"); err == nil {
		t.Error("the stopped director kept the gateway address")
	}
}
