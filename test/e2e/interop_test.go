package e2e

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestKeepalived…: one of ours and one keepalived on a segment elect, and hand
// over in an orderly way, by a crash and back, whoever is preferred.

func TestKeepalivedPrefersUs(t *testing.T)   { besideKeepalived(t, 1) }
func TestKeepalivedIsPreferred(t *testing.T) { besideKeepalived(t, 2) }

// besideKeepalived: director number ours is ours; the first is preferred.
func besideKeepalived(t *testing.T, ours int) {
	bin := binary(t)
	needProgram(t, "keepalived")
	s := open(t, lab.Options{Mode: lab.DR})
	set := lab.Settings{Mode: lab.DR, Advert: advert}
	var d [2]*lab.Director
	for i := range d {
		var agent lab.Agent = lab.Keepalived{}
		if i+1 == ours {
			agent = lab.LVSHA{Bin: bin}
		}
		file := filepath.Join(s.Dir, agent.Name()+".conf")
		s.must(agent.Write(file, i+1, set))
		d[i] = s.Director(i+1, agent, file)
	}
	s.lvs1, s.lvs2 = d[0], d[1]
	master := func(d, other *lab.Director, since time.Time, what string) time.Duration {
		t.Helper()
		ad, err := s.sniffer.Await(s.ctx, what, since, func(a lab.Advert) bool { return a.From == d.Addr() && a.Priority > 1 })
		s.must(err)
		s.vip(d, true, 5*time.Second)
		if other != nil {
			s.vip(other, false, 3*time.Second)
		}
		return ad.At.Sub(since)
	}
	begin := time.Now()
	s.must(s.lvs2.Start())
	master(s.lvs2, nil, begin, "lvs2 alone is master")
	begin = time.Now()
	s.must(s.lvs1.Start())
	master(s.lvs1, s.lvs2, begin, "lvs1 preempts")

	// Stable: one sender, for a while.
	s.must(lab.Pause(s.ctx, 5*advert))
	from := time.Now()
	s.must(lab.Pause(s.ctx, 10*advert))
	ads := s.sniffer.Adverts(from)
	if slices.ContainsFunc(ads, func(a lab.Advert) bool { return a.From != s.lvs1.Addr() }) || len(ads) < 8 {
		t.Errorf("not stable: %v", ads)
	}

	begin = time.Now()
	_, err := s.lvs1.Stop(s.ctx)
	s.must(err)
	took := master(s.lvs2, s.lvs1, begin, "lvs2 takes over from a stopped lvs1")
	if !slices.ContainsFunc(s.sniffer.Adverts(begin), func(a lab.Advert) bool { return a.From == s.lvs1.Addr() && a.Priority == 0 }) {
		t.Error("lvs1 did not send priority 0")
	}
	t.Logf("stop: %s", took.Round(time.Millisecond))

	begin = time.Now()
	s.must(s.lvs1.Start())
	master(s.lvs1, s.lvs2, begin, "lvs1 preempts again")
	begin = time.Now()
	s.must(s.lvs1.Kill(s.ctx))
	took = master(s.lvs2, nil, begin, "lvs2 takes over from a dead lvs1")
	if took > allowed(takeover+100*time.Millisecond) {
		t.Errorf("takeover took %s", took)
	}
	t.Logf("kill: %s", took.Round(time.Millisecond))
	begin = time.Now()
	s.must(s.lvs1.Start())
	master(s.lvs1, s.lvs2, begin, "lvs1 is back")
}
