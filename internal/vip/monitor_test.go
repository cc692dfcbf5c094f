package vip

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A list that was disturbed may lack what was there all the time: nobody is
// told that it went.
func TestDisturbedListTakesNothingAway(t *testing.T) {
	a, b, c := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("192.0.2.3/24")
	link := func(index int, list ...netip.Prefix) Interface {
		in := Interface{Name: "eth0", Index: index, Up: true}
		for _, p := range list {
			in.Addresses = append(in.Addresses, InterfaceAddress{Prefix: p})
		}
		return in
	}
	unanswered := errors.New("no answer")
	for name, x := range map[string]struct {
		before, listed *Interface
		found          Interface
		err            error
		want           *Interface
	}{
		"all there":         {ptr(link(2, a)), ptr(link(2, a)), link(2), nil, ptr(link(2, a))},
		"an address lacks":  {ptr(link(2, a, b)), ptr(link(2, b, c)), link(2), nil, ptr(link(2, a, b, c))},
		"the link lacks":    {ptr(link(2, a)), nil, link(2), nil, ptr(link(2, a))},
		"another link":      {ptr(link(2, a)), nil, link(3), nil, ptr(link(3))},
		"the link went":     {ptr(link(2, a)), nil, Interface{}, ErrAbsent, nil},
		"nobody knows":      {ptr(link(2, a)), nil, Interface{}, unanswered, ptr(link(2, a))},
		"never was there":   {nil, nil, Interface{}, unanswered, nil},
		"is there only now": {nil, nil, link(4), nil, ptr(link(4))},
	} {
		view, before := map[string]Interface{}, map[string]Interface{}
		if x.listed != nil {
			view["eth0"] = *x.listed
		}
		if x.before != nil {
			before["eth0"] = *x.before
		}
		complete(view, before, "eth0", func(string) (Interface, error) { return x.found, x.err })
		got, there := view["eth0"]
		if there != (x.want != nil) || there && (got.Index != x.want.Index || !slices.Equal(got.Addresses, x.want.Addresses)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func ptr(in Interface) *Interface { return &in }

// After a list that failed there is another one, though nothing happens any more.
func TestFailedListIsRepeated(t *testing.T) {
	pair(t, "vq0", "vq1")
	m, err := NewMonitor(logTo(t))
	must(t, err)
	var fail atomic.Int32
	m.list = func() (map[string]Interface, bool, error) {
		if fail.Add(-1) >= 0 {
			return nil, false, errors.New("no memory")
		}
		return m.k.interfaces()
	}
	run(t, m)
	eventually(t, 2*time.Second, "up", func() bool { return m.Interface("vq0").Up })
	fail.Store(5) // more than there are events
	must(t, netlink.LinkSetDown(theLink(t, "vq1")))
	eventually(t, 3*time.Second, "carrier lost", func() bool { return !m.Interface("vq0").Up })
}
