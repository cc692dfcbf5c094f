package speaker

import (
	"net"
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

func TestTakesStaleAddressesOffFirst(t *testing.T) {
	r := newRig(t, testSpec(100))
	if got := r.h.take(); got != "drop" {
		t.Errorf("first orders: %s", got)
	}
}

func TestHoldThenAnnounce(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.h.take()
	r.connect()
	r.ready()
	r.state(vrrp.Backup)
	r.lapse()
	r.state(vrrp.Master)
	if got := r.h.take(); got != "hold" {
		t.Errorf("orders: %s", got)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n - 1}) // of an older order
	if got := r.h.take(); got != "" {
		t.Errorf("after an old report: %s", got)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	if got := r.h.take(); got != "announce" {
		t.Errorf("after the report: %s", got)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n}) // a renewal
	if got := r.h.take(); got != "" {
		t.Errorf("after a renewal: %s", got)
	}
}

func TestTrackedInterfaceWithoutDelta(t *testing.T) {
	spec := testSpec(100)
	r := newRig(t, spec)
	r.in.tracks = []track{{Track: vrrp.Track{Name: "eth9"}}}
	r.connect()
	r.ready()
	r.state(vrrp.Fault)
	r.in.tracked("eth9", true)
	r.state(vrrp.Backup)
	r.l.takePosture(link.Posture{Ready: true, Instances: map[string]link.InstancePosture{"edge": {Fault: "disk"}}})
	r.state(vrrp.Fault)
	r.l.takePosture(link.Posture{Ready: true, Instances: map[string]link.InstancePosture{"edge": {Deltas: []int{-20, 5}}}})
	if r.state(vrrp.Backup); r.in.machine.Priority() != 85 {
		t.Errorf("priority %d", r.in.machine.Priority())
	}
}

// Whoever yields or releases keeps the addresses for a while, but says nothing
// any more: a round that went on would speak after the next master's.
func TestNoRoundGoesOnAfterMastership(t *testing.T) {
	for what, end := range map[string]func(r *rig){
		"yields":   func(r *rig) { r.in.receive(advert(200, peer)) },
		"releases": func(r *rig) { _ = r.in.failover(link.Failover{Force: true}) },
	} {
		r := newRig(t, testSpec(100))
		r.master()
		if got := r.h.take(); !strings.HasSuffix(got, "announce") {
			t.Fatalf("%s: %s", what, got)
		}
		end(r)
		if got := r.h.take(); got != "quiet" {
			t.Errorf("%s: %q, want quiet, and the addresses stay", what, got)
		}
	}
}

func TestForeignClaimIsAnswered(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	r.h.take()
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	r.in.claimed(vip4, "lo", mac)
	r.in.claimed(vip4, "lo", mac)
	at := now()
	for range 20 {
		d, _ := r.in.machine.Deadline()
		if time.Duration(d) > at+500*time.Millisecond {
			break
		}
		r.in.tick(time.Duration(d))
	}
	if got := r.h.take(); got != "announce once" {
		t.Errorf("orders: %q", got)
	}
	if st := r.status(); st.ForeignClaims != 2 {
		t.Errorf("counted %d", st.ForeignClaims)
	}
	if n := strings.Count(r.log.String(), "foreign_claim"); n != 1 {
		t.Errorf("%d log records", n)
	}
}
