package e2e

import (
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestRestart: an agent that is stopped in order and started again, as a
// service manager does, is a new start. Of a backup nobody notices it; a master
// hands over to its peer, and without one it has its address back a
// master-down interval after its start.
func TestRestart(t *testing.T) {
	binary(t)
	s := open(t, lab.Options{Mode: lab.DR})
	s.set.Servers, s.set.Advert = nil, advert
	s.pair()
	s.must(s.lvs1.Start())
	s.must(s.lvs2.Start())
	s.vip(s.lvs1, true, 15*time.Second)
	restart := func(d *lab.Director) {
		s.Helper()
		code, err := d.Stop(s.ctx)
		s.must(err)
		if code != 0 {
			t.Errorf("%s ended with exit status %d", d.Host().Name, code)
		}
		s.must(d.Start())
	}
	calm := func(what string, from time.Time) {
		s.Helper()
		for _, a := range s.sniffer.Adverts(from) {
			if a.From != s.lvs1.Addr() || a.Priority != 200 {
				t.Fatalf("%s: %s has advertised with priority %d", what, a.From, a.Priority)
			}
		}
		if gap, n := s.sniffer.LongestGap(s.lvs1.Addr(), from); n < 5 || gap > allowed(advert+advert/2) {
			t.Errorf("%s: %d advertisements, longest gap %s", what, n, gap)
		}
	}
	s.must(lab.Pause(s.ctx, time.Second))

	began := time.Now()
	restart(s.lvs2)
	s.must(lab.Pause(s.ctx, 2*time.Second))
	calm("restart of the backup", began)

	began = time.Now()
	restart(s.lvs1)
	s.within(5*time.Second, "lvs1 has preempted", func() error {
		for _, a := range s.sniffer.Adverts(began) {
			if a.From == s.lvs2.Addr() && a.Priority > 0 {
				return s.lvs1.CheckVIP(true)
			}
		}
		return errorf("lvs2 was not asked")
	})

	_, err := s.lvs2.Stop(s.ctx)
	s.must(err)
	_, err = s.lvs1.Stop(s.ctx)
	s.must(err)
	began = time.Now()
	s.must(s.lvs1.Start())
	ad, err := s.sniffer.Await(s.ctx, "lvs1 is master again", began, func(a lab.Advert) bool { return a.From == s.lvs1.Addr() && a.Priority > 0 })
	s.must(err)
	s.vip(s.lvs1, true, 5*time.Second)
	t.Logf("alone: first advertisement %s after the start", ad.At.Sub(began).Round(time.Millisecond))
	// The start of both processes counts too.
	if least := 3 * advert; ad.At.Sub(began) < least || ad.At.Sub(began) > takeover+3*time.Second {
		t.Errorf("alone: first advertisement after %s", ad.At.Sub(began))
	}
}
