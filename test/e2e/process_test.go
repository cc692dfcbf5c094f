package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestDirectorProcessKilled: the child dies, the election and the kernel's
// table do not notice, and within a second it is there again.
func TestDirectorProcessKilled(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.set.Advert = advert
	s.start()
	// The overlap of the sync daemons' roles after the promotion is over then.
	s.awaitDaemons(s.lvs1, "master")
	ld := s.load(lab.LoadOptions{})
	for round := range 3 {
		old := s.lvs1.Process().Children()
		if len(old) != 1 {
			t.Fatalf("the agent has %d children, want one: %v", len(old), old)
		}
		killed := time.Now()
		s.unchanged(s.lvs1, func() {
			s.must(syscall.Kill(old[0], syscall.SIGKILL))
			s.slowly(allowed(time.Second), "a new director process answers", func() error {
				if c := s.lvs1.Process().Children(); len(c) != 1 || c[0] == old[0] {
					return errorf("children %v", c)
				}
				_, err := s.lvs1.Metrics(s.ctx)
				return err
			})
			t.Logf("round %d: back after %s", round, time.Since(killed).Round(time.Millisecond))
			s.slowly(5*time.Second, "it is ready", func() error {
				code, body, err := s.lvs1.Host().Get(s.ctx, "http://127.0.0.1:10112/readyz")
				if err == nil && code != 200 {
					err = errorf("%d %s", code, body)
				}
				return err
			})
			// Two reconcile passes on top.
			s.must(lab.Pause(s.ctx, 2*time.Second))
		})
		if w := s.writes(s.lvs1); len(w) > 0 {
			t.Errorf("the new process wrote to the kernel: %v", w)
		}
		if gap, n := s.sniffer.LongestGap(s.lvs1.Addr(), killed); gap > allowed(advert+advert/2) || n < 15 {
			t.Errorf("an advertisement was missed: %d of them, longest gap %s", n, gap)
		}
		if slices.ContainsFunc(s.sniffer.Adverts(killed), func(a lab.Advert) bool { return a.From != s.lvs1.Addr() || a.Priority != 200 }) {
			t.Error("the election noticed")
		}
		if sum := s.decided(ld, killed); sum.Failed > 0 {
			t.Errorf("clients noticed: %s", sum)
		}
	}
}

// TestDirectorProcessHangs: a child that is stuck is replaced as well.
func TestDirectorProcessHangs(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 1})
	s.start()
	old := s.lvs1.Process().Children()
	if len(old) != 1 {
		t.Fatalf("children %v", old)
	}
	stopped := time.Now()
	s.must(syscall.Kill(old[0], syscall.SIGSTOP))
	s.slowly(30*time.Second, "a new director process answers", func() error {
		if c := s.lvs1.Process().Children(); len(c) != 1 || c[0] == old[0] {
			return errorf("children %v", c)
		}
		_, err := s.lvs1.Metrics(s.ctx)
		return err
	})
	t.Logf("replaced after %s", time.Since(stopped).Round(time.Millisecond))
	if gap, n := s.sniffer.LongestGap(s.lvs1.Addr(), stopped); gap > allowed(advert+advert/2) || n == 0 {
		t.Errorf("an advertisement was missed: %d of them, longest gap %s", n, gap)
	}
}

// TestAdoption: both processes die and are started again; the table stands as
// it is, connections are forwarded all the time.
func TestAdoption(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.pair()
	s.must(s.lvs1.Start())
	s.serving(s.lvs1)
	ld := s.load(lab.LoadOptions{})
	conns := s.hold()
	begin := time.Now()
	for range 3 {
		s.unchanged(s.lvs1, func() {
			s.must(s.lvs1.Kill(s.ctx))
			s.verify(conns, "while the agent is dead")
			s.must(s.lvs1.Start())
			started := time.Now()
			_, err := s.sniffer.Await(s.ctx, "it is master again", started, func(a lab.Advert) bool { return a.Priority == 200 })
			s.must(err)
			s.must(lab.Pause(s.ctx, 2*time.Second))
			s.verify(conns, "after the new start")
		})
		if has, err := s.lvs1.HasVIP(); !has || err != nil {
			t.Errorf("VIP there: %v %v", has, err)
		}
		if w := s.writes(s.lvs1); len(w) > 0 {
			t.Errorf("the new start wrote to the kernel: %v", w)
		}
	}
	// An agent that starts takes the VIP of its earlier life off and is master
	// when nobody else is heard: a master-down interval without new connections.
	if sum := s.decided(ld, begin); sum.WorstGap > allowed(takeover+100*time.Millisecond) {
		t.Errorf("clients noticed more than an election: %s", sum)
	} else {
		t.Logf("three starts: %s", sum)
	}
}

// TestAdoptionFindsFailure: a server that died while the agent was away.
func TestAdoptionFindsFailure(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.pair()
	s.must(s.lvs1.Start())
	s.serving(s.lvs1)
	s.must(s.lvs1.Kill(s.ctx))
	s.must(s.Servers[2].Kill(s.ctx))
	s.must(s.lvs1.Start())
	s.weights(s.lvs1, s.with(3, 0))
	// And one that came back while the agent was away.
	s.must(s.lvs1.Kill(s.ctx))
	s.must(s.Servers[2].Start(s.ctx))
	s.must(s.lvs1.Start())
	s.weights(s.lvs1, s.up())
}

// TestStopKeepsTable: an orderly stop gives up the VIP and leaves the table.
func TestStopKeepsTable(t *testing.T) {
	binary(t)
	needIPVS(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 2})
	s.pair()
	s.must(s.lvs1.Start())
	s.serving(s.lvs1)
	begin := time.Now()
	s.unchanged(s.lvs1, func() {
		code, err := s.lvs1.Stop(s.ctx)
		if code != 0 || err != nil {
			t.Errorf("stopped with %d, %v", code, err)
		}
	})
	if has, err := s.lvs1.HasVIP(); has || err != nil {
		t.Errorf("VIP there: %v %v", has, err)
	}
	_, err := s.sniffer.Await(s.ctx, "priority 0 is advertised", begin, func(a lab.Advert) bool { return a.Priority == 0 })
	s.must(err)
}
