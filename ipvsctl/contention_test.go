package ipvsctl_test

import (
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/ipvsctl"
)

// contend has somebody make one change again and again until it is left alone,
// at most as often as the default says.
func (b *bench) contend(t *testing.T, g ipvsctl.Goal, change ipvsctl.Op) {
	t.Helper()
	for range 3 {
		b.tamper(change)
		if rep := b.full(g); len(rep.Drift) != 1 {
			t.Fatalf("%v: %v", change, rep)
		}
		time.Sleep(5 * time.Second)
	}
	if rep := b.full(g); len(rep.Contended) != 1 {
		t.Fatalf("three repairs of %v: %v are left alone", change, rep.Contended)
	}
}

// TestContentionOfDecisions: what is left alone is what others do. Our own
// changes of mind go through, there and back.
func TestContentionOfDecisions(t *testing.T) {
	for _, stands := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			up, down := goal(entry(vip(1), 1, 2)), goal(entry(vip(1), 0, 2))
			b := newBench(t)
			b.full(down)
			theirs := on(ipvsctl.SetServer, 1, 0, 9) // a dead server gets weight again and again
			b.contend(t, down, theirs)
			if stands {
				b.tamper(theirs)
				if rep := b.full(down); len(rep.Done) != 0 {
					t.Fatalf("it is repaired a fourth time: %v", rep)
				}
			}
			if rep := b.quick(up); len(rep.Done) != 1 {
				t.Errorf("the server recovers: %v", rep)
			}
			if rep := b.quick(down); len(rep.Done) != 1 || len(rep.Contended) != 0 {
				t.Errorf("it fails again: %v", rep)
			}
			b.contend(t, down, theirs) // counted anew
		})
	}
}

// TestContentionOfExtraServers: one that somebody keeps adding stays as they
// want it in the end, though taking it away is two changes.
func TestContentionOfExtraServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		g := goal(entry(vip(1), 1, 2))
		b.full(g)
		theirs := on(ipvsctl.AddServer, 1, 7, 4)
		b.contend(t, g, theirs)
		b.tamper(theirs)
		for range 2 {
			if rep := b.full(g); len(rep.Done) != 0 {
				t.Fatalf("it does not stand: %q", lines(rep.Done))
			}
			if rep := b.quick(g); len(rep.Done) != 0 {
				t.Fatalf("it does not stand, quick: %q", lines(rep.Done))
			}
		}
		time.Sleep(time.Minute)
		if rep := b.full(g); len(rep.Done) != 2 || len(rep.Drift) != 1 {
			t.Errorf("after the pause: %q, %v", lines(rep.Done), rep.Drift)
		}
	})
}
