package speaker

import (
	"strings"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

func TestStalledSaysSoBeforePacketsAreHeard(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	r.state(vrrp.Backup)
	d, _ := r.in.deadline()
	r.l.planned = d
	late := d + time.Second
	r.l.stalled(late)
	if d2, _ := r.in.deadline(); d2 < late {
		t.Errorf("a stalled backup would take over at once")
	}
	if !strings.Contains(r.log.String(), "stalled") {
		t.Error("not logged")
	}
}

// In steady state neither receiving nor sending allocates.
func TestNoAllocationPerAdvertisement(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	p := advert(200, peer)
	if n := testing.AllocsPerRun(1000, func() { p.at = now(); r.l.deliver(r.in.port, p) }); n != 0 {
		t.Errorf("receiving allocates %v times", n)
	}
	r.lapse()
	r.state(vrrp.Master)
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	r.in.failAt = 0         // the time of the steps below is not that of the clock
	r.in.warned.send = true // the rig's descriptor takes nothing
	if n := testing.AllocsPerRun(1000, func() { r.lapse() }); n != 0 {
		t.Errorf("sending allocates %v times", n)
	}
	if r.in.sendErrors < 1000 {
		t.Errorf("sent %d times", r.in.sendErrors)
	}
}
