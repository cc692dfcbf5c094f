package speaker_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

func TestGroupFollowsALostLink(t *testing.T) {
	t.Parallel()
	a, b := routers(t, false)
	// A master-down interval is longer than an ordinary hand-over may take.
	const interval = 300 * time.Millisecond
	a.configure(both(200, interval)...)
	b.configure(both(100, interval)...)
	holds(t, "a has both", a, b)
	for leg, sibling := range map[*node]string{a.outer: innerVIP, a.node: outerVIP} {
		watch := watchGap(t, a, b)
		leg.cut(true)
		moved := func() bool {
			return b.roles() == all && !a.has(innerVIP) && !a.has(outerVIP) &&
				a.named("inner").State != vrrp.Backup && a.named("outer").State != vrrp.Backup
		}
		inTime(t, "b has both, a nothing", moved, a, b)
		b.together()
		settled(t, b)
		stays(t, "b has both, a nothing", moved, a, b)
		watch.whole("the sibling of a lost link", b, 100, sibling)
		watch = watchGap(t, b, a)
		leg.cut(false)
		holds(t, "a has both again", a, b)
		a.together()
		// One yields to the better advertisement, the other hands over with it.
		watch.whole("a better director returns", a, 200, innerVIP, outerVIP)
	}
}

func TestGroupFailover(t *testing.T) {
	t.Parallel()
	a, b := routers(t, false)
	a.configure(both(200, 100*time.Millisecond)...)
	b.configure(both(100, 100*time.Millisecond)...)
	holds(t, "a has both", a, b)
	ctx, cancel := context.WithTimeout(t.Context(), 2*wireLimit)
	defer cancel()
	must(t, a.client.Failover(ctx, link.Failover{Instance: "outer", Force: true}))
	holds(t, "b has both", b, a)
	b.together()
	settled(t, b)
	stays(t, "a does not preempt, it was told to hand over", func() bool { return a.roles() == none }, a, b)
	must(t, b.client.Failover(ctx, link.Failover{Instance: "inner", Force: true}))
	holds(t, "a has both again", a, b)
	a.together()
}

// An address that moves in order always has a holder.
func TestGroupStopsInOrder(t *testing.T) {
	t.Parallel()
	a, b := routers(t, false)
	a.configure(both(200, 100*time.Millisecond)...)
	b.configure(both(100, 100*time.Millisecond)...)
	holds(t, "a has both", a, b)
	watch := watchGap(t, a, b)
	a.terminate()
	eventually(t, wireLimit, "b has both", func() bool { return b.roles() == all })
	b.together()
	watch.whole("a stops", b, 100, innerVIP, outerVIP)
	for _, leg := range []struct {
		vip  string
		a, b *node
	}{{innerVIP, a.node, b.node}, {outerVIP, a.outer, b.outer}} {
		if a.has(leg.vip) {
			t.Errorf("a has ended and has %s", leg.vip)
		}
		zero := leg.a.s.cap.find(adverts(leg.a, 0))
		first := leg.b.s.cap.find(adverts(leg.b, 100))
		if len(zero) == 0 || len(first) == 0 {
			t.Fatalf("%s: %d times priority 0, %d advertisements", leg.vip, len(zero), len(first))
		}
		t.Logf("%s: b answers priority 0 after %s", leg.vip, first[0].at.Sub(zero[0].at))
	}
}

// A speaker that was killed and is back at once goes on with the whole group
// or with nothing of it.
func TestGroupResumes(t *testing.T) {
	t.Parallel()
	inner, outer := newSegment(t), newSegment(t)
	a := newRouter(inner, outer, 1, filepath.Join(t.TempDir(), "election"))
	b := newRouter(inner, outer, 2, "")
	const interval = 600 * time.Millisecond
	high, low := both(254, interval), both(100, interval)
	for i := range high {
		high[i].Lifetime, low[i].Lifetime = 30*time.Second, 30*time.Second
	}
	a.configure(high...)
	b.configure(low...)
	holds(t, "a has both", a, b)

	// restart returns how many instances went on.
	restart := func(meanwhile func()) int {
		t.Helper()
		there := strings.Count(a.log.String(), "the node is there")
		resumed := strings.Count(a.log.String(), "reason=resume")
		_ = a.cmd.Process.Signal(syscall.SIGUSR1)
		eventually(t, wireLimit, "a is another process", func() bool {
			return strings.Count(a.log.String(), "the node is there") == there+1
		})
		meanwhile()
		a.configure(high...)
		holds(t, "a has both again", a, b)
		return strings.Count(a.log.String(), "reason=resume") - resumed
	}

	whole := 0
	for try := 0; try < 3 && whole == 0; try++ { // a busy machine may need longer than an interval
		was := b.entered()
		whole = restart(func() {})
		in, out := a.named("inner").Sent, a.named("outer").Sent
		eventually(t, wireLimit, "a advertises both", func() bool { return a.named("inner").Sent > in && a.named("outer").Sent > out })
		if whole != 0 && whole != 2 {
			t.Fatalf("%d of 2 instances went on", whole)
		}
		if whole == 2 && b.entered() != was {
			t.Error("a went on, and b was master nevertheless")
		}
	}
	if whole != 2 {
		t.Error("a never went on")
	}

	// One address is gone: its instance cannot go on, and so the other must not.
	n := restart(func() {
		eth, err := a.h.LinkByName("eth1")
		must(t, err)
		must(t, a.h.AddrDel(eth, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(outerVIP + "/32"))}))
	})
	if n != 0 {
		t.Errorf("%d of 2 instances went on, one could not", n)
	}
}

// A split of one segment moves nothing: the group's other half still hears its
// master. After a split of both, whichever heals first, one node has all.
func TestGroupSplit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		a, b       uint8
		outerFirst bool // heals first
		atOnce     bool // both heal
	}{
		{"better, outer heals first", 200, 100, true, false},
		{"better, inner heals first", 200, 100, false, false},
		{"tie with crossed addresses, outer heals first", 150, 150, true, false},
		{"tie with crossed addresses, inner heals first", 150, 150, false, false},
		{"tie with crossed addresses, both heal at once", 150, 150, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a, b := routers(t, tc.a == tc.b)
			// Nobody refreshes: the winner's last announcement has to come of the heal itself.
			ia, ib := both(tc.a, 100*time.Millisecond), both(tc.b, 100*time.Millisecond)
			a.configure(ia...)
			eventually(t, wireLimit, "a has both", func() bool { return a.roles() == all })
			b.configure(ib...)
			holds(t, "a has both, b waits", a, b)
			first, second := a.node, a.outer
			if tc.outerFirst {
				first, second = second, first
			}

			first.plug(false)
			settled(t, a)
			stays(t, "a has both, though one segment is split", func() bool { return a.roles() == all && b.roles() == none }, a, b)
			second.plug(false)
			inTime(t, "both are masters of all", func() bool { return a.roles() == all && b.roles() == all }, a, b)

			entered := map[*router]uint64{a: a.entered(), b: b.entered()}
			winner, loser := a, b
			one := func() bool {
				ra, rb := a.roles(), b.roles()
				winner, loser = a, b
				if rb == all {
					winner, loser = b, a
				}
				return ra == all && rb == none || ra == none && rb == all
			}
			for i, leg := range []*node{first, second} {
				leg.plug(true)
				if tc.atOnce && i == 0 {
					continue
				}
				inTime(t, "one node has all", one, a, b)
				settled(t, winner)
				stays(t, fmt.Sprintf("one node has all, %d segments are healed", i+1), one, a, b)
			}
			stays(t, "the winner is master all the time", func() bool { return winner.entered() == entered[winner] }, a, b)
			stays(t, "the better one has won", func() bool { return tc.a == tc.b || winner == a }, a, b)
			eventually(t, wireLimit, "the winner has announced last", func() bool {
				return announcedLast(winner.node, loser.node, innerVIP) && announcedLast(winner.outer, loser.outer, outerVIP)
			})
		})
	}
}
