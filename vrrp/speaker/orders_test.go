package speaker

import (
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// A director that was started anew must not move the election.
func TestDirectorAway(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.l.takePosture(link.Posture{Away: true}) // before there was one
	r.master()
	tracked := link.Posture{Ready: true, Instances: map[string]link.InstancePosture{"edge": {Deltas: []int{-10}}}}
	r.l.takePosture(tracked)
	if r.in.machine.Priority() != 90 {
		t.Fatal("posture not taken")
	}
	r.l.takePosture(link.Posture{Away: true})
	r.l.takePosture(link.Posture{}) // the next one, not ready yet
	if r.in.machine.Priority() != 90 || r.in.machine.Offering() {
		t.Errorf("a restart of the director made the priority %d", r.in.machine.Priority())
	}
	r.l.graceOver(now() + defaultGrace/2)
	r.l.takePosture(tracked)
	r.l.graceOver(now() + 2*defaultGrace)
	if r.in.machine.Offering() {
		t.Error("offers although the director is back")
	}
	r.l.takePosture(link.Posture{Away: true})
	r.l.graceOver(now() + defaultGrace + time.Second)
	if r.in.machine.Priority() != 1 || !r.in.machine.Offering() {
		t.Errorf("away for too long: priority %d, offering %t", r.in.machine.Priority(), r.in.machine.Offering())
	}
	r.l.takePosture(tracked)
	if r.in.machine.Priority() != 90 || r.in.machine.Offering() {
		t.Error("it is back, but still offers")
	}
}

func TestFailoverRefusals(t *testing.T) {
	r := newRig(t, testSpec(100))
	for _, tc := range []struct{ name, want string }{{"other", "no vrrp instance"}, {"edge", "not master"}} {
		if err := r.l.failover(link.Failover{Instance: tc.name}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	r.master()
	if err := r.l.failover(link.Failover{Instance: "edge"}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("nobody there: %v", err)
	}
	r.l.deliver(r.in.port, advert(50, peer))
	if err := r.l.failover(link.Failover{Instance: "edge", For: time.Minute}); err != nil {
		t.Error(err)
	}
	r.state(vrrp.Releasing)
	if got := r.h.take(); strings.HasSuffix(got, "drop") {
		t.Errorf("dropped before the next master is there: %s", got)
	}
}

func TestStopReleasesAndEnds(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	r.l.stopAll()
	r.state(vrrp.Releasing)
	r.l.fire()
	if r.end || r.l.ended {
		t.Fatal("ended while it releases")
	}
	r.lapse()
	r.state(vrrp.Init)
	r.l.fire()
	if r.end {
		t.Fatal("ended before the addresses were off")
	}
	r.in.reported(Report{Phase: Dropped, Order: r.h.n})
	r.l.fire()
	if !r.end || !r.l.ended || len(r.l.instances) != 0 || r.in.port.instances[7] != nil {
		t.Error("did not end")
	}
}
