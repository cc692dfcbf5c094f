package speaker

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

func TestStatusOfABackup(t *testing.T) {
	spec := testSpec(100)
	spec.TrackInterfaces = []vrrp.Track{{Name: "eth9", Delta: -30}}
	r := newRig(t, spec)
	r.in.tracks = []track{{Track: spec.TrackInterfaces[0]}}
	r.connect()
	r.ready()
	p := advert(150, peer)
	p.payload = (&vrrp.Advertisement{Version: vrrp.V3, VRID: 7, Priority: 150, Interval: 200 * time.Millisecond,
		Addresses: []netip.Addr{peer}}).Append(nil, vrrp.ChecksumMessageOnly, peer, group4)
	r.l.deliver(r.in.port, p)
	r.l.deliver(r.in.port, advert(0, peer))
	st := r.status()
	if st.State != vrrp.Backup || st.Reason != "start" || st.Priority != 70 || st.ConfiguredPriority != 100 || st.Source != self ||
		st.MasterSource != peer || st.Received != 2 || st.ZeroReceived != 1 || st.AddressMismatch != 1 || st.MessageOnly != 1 ||
		st.MasterDownIn <= 0 || time.Since(st.LastHeard) > time.Minute || st.LastHeard.IsZero() || st.SendErrors != 3 ||
		st.AnnouncedARP != 1 || st.AnnouncedNA != 2 || st.Transitions["backup"] != 1 || st.TrackUp["eth9"] {
		t.Errorf("%+v", st)
	}
	r.in.tracked("eth9", true)
	if st := r.status(); st.Priority != 100 || !st.TrackUp["eth9"] {
		t.Errorf("after the tracked interface came: %+v", st)
	}
}

func TestEnumerationsFit(t *testing.T) {
	if r := slices.Max(vrrp.Reasons); int(r) >= maxReasons {
		t.Errorf("reason %d", r)
	}
	if s := slices.Max(vrrp.States); int(s) >= maxStates {
		t.Errorf("state %d", s)
	}
	if c := slices.Max(vrrp.Counters); int(c) >= maxCounters {
		t.Errorf("counter %d", c)
	}
}
