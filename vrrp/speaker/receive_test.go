package speaker

import (
	"strings"
	"testing"
)

func TestRejectedPacketsTouchNothing(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	d0, _ := r.in.deadline()
	for name, f := range map[string]func(*packet){
		"checksum": func(p *packet) { p.payload[6]++ },
		"ttl":      func(p *packet) { p.ttl = 254 },
		"source":   func(p *packet) { *p = *advert(200, self) },
		"version":  func(p *packet) { p.payload[0] = 0x21 },
		"length":   func(p *packet) { p.payload = p.payload[:11] },
	} {
		p := advert(200, peer)
		f(p)
		r.l.deliver(r.in.port, p)
		if d, _ := r.in.deadline(); d != d0 {
			t.Errorf("%s moved the timer", name)
		}
	}
	r.l.deliver(r.in.port, &packet{payload: nil})
	other := advert(200, peer)
	other.payload[1] = 8
	r.l.deliver(r.in.port, other)
	if r.in.received != 0 || r.in.port.unknown != 2 {
		t.Errorf("received %d, unknown %d", r.in.received, r.in.port.unknown)
	}
	st := r.status()
	for _, label := range []string{"checksum", "ttl", "source", "version", "malformed"} {
		if st.Dropped[label] != 1 {
			t.Errorf("dropped: %v", st.Dropped)
			break
		}
	}
	if n := strings.Count(r.log.String(), "advertisement_rejected"); n != 1 {
		t.Errorf("%d log records for 5 rejected packets", n)
	}
	r.l.deliver(r.in.port, advert(200, peer))
	if d, _ := r.in.deadline(); d <= d0 || r.in.received != 1 {
		t.Error("a good packet did not count")
	}
}
