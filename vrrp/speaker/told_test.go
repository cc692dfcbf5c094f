package speaker

import (
	"net"
	"net/netip"
	"testing"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// masters takes who was told of as master since the last call.
func (r *rig) masters() (out []netip.Addr) {
	r.l.out.flush(func(t link.Transition) {
		if t.Master.IsValid() {
			out = append(out, t.Master)
		}
	})
	return out
}

// TestBackupTellsWhoIsMaster: once, at the first advertisement; a master that
// speaks last, or that is heard while this one is master, is none.
func TestBackupTellsWhoIsMaster(t *testing.T) {
	third := netip.MustParseAddr("10.0.0.3")
	r := newRig(t, testSpec(100))
	r.connect()
	r.ready()
	want := func(when string, want ...netip.Addr) {
		t.Helper()
		got := r.masters()
		if len(got) != len(want) || len(got) == 1 && got[0] != want[0] {
			t.Errorf("%s: told of %v, want %v", when, got, want)
		}
	}
	want("nobody heard")
	r.in.receive(advert(0, third))
	want("a last word")
	r.in.receive(advert(200, peer))
	want("the first advertisement", peer)
	r.in.receive(advert(200, peer))
	want("the next one")
	r.in.receive(advert(210, third))
	r.in.receive(advert(200, peer))
	r.in.receive(advert(210, third))
	want("two at a time: not each of their advertisements")
	r.in.toldAt -= tellEvery
	r.in.receive(advert(210, third))
	want("a second later", third)
	r.lapse()
	r.master()
	r.in.receive(advert(50, peer))
	want("one that loses")
	r.in.receive(advert(210, third))
	r.lapse()
	r.in.receive(advert(210, third))
	want("backup again: the director may be another process", third)
}

// TestClaimsAreTold: those heard as master, once in a while.
func TestClaimsAreTold(t *testing.T) {
	r := newRig(t, testSpec(100))
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	claims := func() (n int) {
		r.l.out.flush(func(tr link.Transition) {
			if c := tr.Claim; c != nil {
				n++
				if tr.Changes() || c.Address != vip4 || c.Interface != "eth1" || c.HardwareAddr.String() != mac.String() {
					t.Errorf("%+v, %+v", tr, c)
				}
			}
		})
		return n
	}
	r.connect()
	r.ready()
	r.in.claimed(vip4, "eth1", mac)
	if n := claims(); n != 0 {
		t.Errorf("as backup: %d", n)
	}
	r.lapse()
	r.state(vrrp.Master)
	r.in.claimed(vip4, "eth1", mac)
	r.in.claimed(vip4, "eth1", mac)
	if n := claims(); n != 1 {
		t.Errorf("as master: %d", n)
	}
	r.in.warned.claim -= logEvery
	r.in.claimed(vip4, "eth1", mac)
	if n := claims(); n != 1 {
		t.Errorf("later: %d", n)
	}
}
