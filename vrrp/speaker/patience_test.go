package speaker

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"lvs-ha/vrrp"
)

// A report that says that something could not be renewed is no renewal.
func TestFailedRenewalsDoNotKeepPatience(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	before := r.in.failAt
	r.in.reported(Report{Phase: Held, Order: r.h.n, Err: errors.New("cannot renew one of two"), Age: 2 * time.Second})
	if d := r.in.failAt - before; d > -time.Second {
		t.Errorf("the patience was prolonged by %s", d+2*time.Second)
	}
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	if r.in.failAt <= before {
		t.Error("the next renewal did not renew it")
	}
}

// What is somebody else's for ever has nothing to renew.
func TestForeignAddressesNeedNoRenewal(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	r.in.reported(Report{Phase: Held, Order: r.h.n, Foreign: []netip.Prefix{r.in.spec.Addresses[0].Prefix}, Age: -1})
	if r.in.failAt != 0 {
		t.Fatalf("the addresses count as failed in %s", r.in.failAt-now())
	}
	r.state(vrrp.Master)
	r.in.reported(Report{Phase: Held, Order: r.h.n}) // it was removed, and is ours now
	if r.in.failAt == 0 {
		t.Error("no patience with an address of our own")
	}
}

// A pause of the whole process is no failure of the addresses: the holder could
// not renew them either, and does so now.
func TestStallIsNoFailureOfAddresses(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	r.h.take()
	late := r.in.failAt + time.Second
	r.l.planned = now()
	r.l.stalled(late)
	if r.in.failAt <= late {
		t.Fatal("after the pause the addresses count as failed at once")
	}
	if got := r.h.take(); got != "hold" || r.in.order != r.h.n {
		t.Errorf("orders %q: the holder was not asked to see after them", got)
	}
	if d := r.in.failAt - late; d > firstPatience {
		t.Errorf("patience %s after the pause", d)
	}
	// A short delay changes nothing, however often it comes.
	before := r.in.failAt
	r.l.planned = before - 100*time.Millisecond
	r.l.stalled(before - 50*time.Millisecond)
	if r.in.failAt != before {
		t.Error("a short delay prolonged the patience")
	}
}

func TestAddressesThatCannotBeHeldAreAFault(t *testing.T) {
	for name, report := range map[string]*Report{
		"refused":    {Phase: Waiting, Err: errors.New("not permitted")},
		"no renewal": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, testSpec(100))
			r.master()
			r.h.take()
			limit := 4 * time.Second // two thirds of the lifetime
			if report != nil {
				r.in.held = false // as if it had never worked
				report.Order = r.h.n
				r.in.reported(*report)
				limit = firstPatience
			}
			if d := r.in.failAt - now(); d > limit || d < limit-time.Second {
				t.Errorf("patience %s, want %s", d, limit)
			}
			r.in.tick(r.in.failAt)
			if s := r.in.machine.State(); s == vrrp.Master {
				t.Fatal("still master")
			} else if s == vrrp.Releasing { // the peer is given time
				r.lapse()
			}
			r.state(vrrp.Fault)
			if got := r.h.take(); got != "quiet, drop" {
				t.Errorf("orders: %s", got)
			}
			if r.in.failAt != 0 {
				t.Error("still impatient")
			}
		})
	}
}

func TestRenewalsKeepPatience(t *testing.T) {
	r := newRig(t, testSpec(100))
	r.master()
	before := r.in.failAt
	r.in.failAt -= 3 * time.Second
	r.in.reported(Report{Phase: Held, Order: r.h.n})
	if r.in.failAt < before {
		t.Error("a renewal did not renew the patience")
	}
}
