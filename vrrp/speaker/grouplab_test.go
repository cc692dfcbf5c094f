package speaker_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// Sync groups on the wire: two routers, each with an inner and an outer link,
// an instance on each, and both in one group.

const (
	innerVIP  = theVIP
	outerVIP  = "10.78.0.100"
	wireLimit = patience // for what takes less than a second on an idle machine
)

// router is a speaker with a second interface.
type router struct {
	*node       // eth0, inner
	outer *node // the same process, seen from eth1
}

// newRouter starts a speaker between two segments: eth0 inside, with the next
// address of 10.77.0.0/24, and eth1 outside, with 10.78.0.outerHost.
func newRouter(inner, outer *segment, outerHost byte, journal string) *router {
	inner.t.Helper()
	n := inner.speakerWith(journal)
	return &router{node: n, outer: n.second(outer, outerHost)}
}

// second gives a node the interface eth1 on another segment, with 10.78.0.host.
func (n *node) second(outer *segment, host byte) *node {
	n.t.Helper()
	t := n.t
	outer.nodes++
	o := &node{t: t, s: outer, cmd: n.cmd, h: n.h, log: n.log, client: n.client, exited: n.exited}
	o.port = fmt.Sprintf("%sp%d", outer.name, outer.nodes)
	o.addr = netip.AddrFrom4([4]byte{10, 78, 0, host})
	la := netlink.NewLinkAttrs()
	la.Name, la.MasterIndex = o.port, outer.bridge.Attrs().Index
	v := &netlink.Veth{LinkAttrs: la, PeerName: "eth1", PeerNamespace: netlink.NsPid(n.cmd.Process.Pid)}
	must(t, netlink.LinkAdd(v))
	p, err := netlink.LinkByName(o.port)
	must(t, err)
	must(t, netlink.LinkSetUp(p))
	eth, err := n.h.LinkByName("eth1")
	must(t, err)
	o.mac = eth.Attrs().HardwareAddr
	must(t, n.h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(o.addr, 24))}))
	must(t, n.h.LinkSetUp(eth))
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// routers are two of them; crossed: a has the lower address inside and the
// higher one outside.
func routers(t *testing.T, crossed bool) (a, b *router) {
	t.Helper()
	inner, outer := newSegment(t), newSegment(t)
	ha, hb := byte(1), byte(2)
	if crossed {
		ha, hb = hb, ha
	}
	return newRouter(inner, outer, ha, ""), newRouter(inner, outer, hb, "")
}

// both are the instances of a group.
func both(priority uint8, interval time.Duration) []vrrp.Instance {
	in, out := group(priority, innerVIP), group(priority, outerVIP)
	in.Name, out.Name = "inner", "outer"
	out.Interface, out.Config.VRID = "eth1", 52
	list := []vrrp.Instance{in, out}
	for i := range list {
		list[i].Group = "both"
		list[i].Config.Interval = interval
		list[i].Lifetime = list[i].Config.Lifetime()
	}
	return list
}

// named is the status of one of its instances.
func (r *router) named(name string) link.InstanceStatus {
	r.t.Helper()
	for _, x := range r.status().Instances {
		if x.Name == name {
			return x
		}
	}
	r.t.Fatalf("no instance %q", name)
	return link.InstanceStatus{}
}

// entered counts how often its instances became master.
func (r *router) entered() uint64 {
	r.t.Helper()
	return r.named("inner").Transitions["master"] + r.named("outer").Transitions["master"]
}

// roles are the states of inner and outer, and which addresses it has.
func (r *router) roles() string {
	r.t.Helper()
	return fmt.Sprintf("%v %v %v %v", r.named("inner").State, r.named("outer").State, r.has(innerVIP), r.has(outerVIP))
}

const (
	all  = "master master true true"
	none = "backup backup false false"
)

// holds waits until a has all of the group and b nothing.
func holds(t *testing.T, what string, a, b *router) {
	t.Helper()
	inTime(t, what, func() bool { return a.roles() == all && b.roles() == none }, a, b)
}

// inTime waits for what only a take-over for want of time could prevent.
func inTime(t *testing.T, what string, f func() bool, a, b *router) {
	t.Helper()
	end := time.Now().Add(wireLimit)
	for !f() {
		if time.Now().After(end) {
			a.punctual()
			b.punctual()
			t.Fatalf("not in time: %s; a is %s, b %s", what, a.roles(), b.roles())
		}
		<-time.After(2 * time.Millisecond)
	}
}

// stays tells of a state that had to last.
func stays(t *testing.T, what string, f func() bool, a, b *router) {
	t.Helper()
	if !f() {
		a.punctual()
		b.punctual()
		t.Errorf("did not stay: %s; a is %s, b %s", what, a.roles(), b.roles())
	}
}

// punctual ends the test if the node stood still for so long that the other
// one may have taken over rightly: then nothing can be said.
func (r *router) punctual() {
	r.t.Helper()
	lag := r.status().Lag
	for i, n := range lag.Counts {
		if n > 0 && (i == len(lag.Bounds) || i > 0 && lag.Bounds[i-1] >= 0.1) {
			r.t.Skipf("a node stood still for more than 100 ms")
		}
	}
}

// cut takes the carrier off a node's link, or gives it back.
func (n *node) cut(off bool) {
	n.t.Helper()
	p, err := netlink.LinkByName(n.port)
	must(n.t, err)
	if off {
		must(n.t, netlink.LinkSetDown(p))
	} else {
		must(n.t, netlink.LinkSetUp(p))
	}
}

// together checks that the last time both instances became master was in one turn.
func (r *router) together() {
	r.t.Helper()
	at := map[string]time.Time{}
	// What is told of them may come later than their status.
	eventually(r.t, wireLimit, "both instances became master in one turn", func() bool {
		for _, x := range r.transitions() {
			if x.To == vrrp.Master && x.From != vrrp.Master {
				at[x.Instance] = x.At
			}
		}
		return len(at) == 2 && at["outer"].Sub(at["inner"]).Abs() <= 200*time.Millisecond
	})
}

// settled waits while a, as master, sends more than another node would wait for.
func settled(t *testing.T, a *router) {
	t.Helper()
	in, out := a.named("inner").Sent, a.named("outer").Sent
	eventually(t, wireLimit, "more than a master-down interval", func() bool {
		return a.named("inner").Sent > in+5 && a.named("outer").Sent > out+5
	})
}

// gapWatch looks for moments in which neither of two nodes has an address.
type gapWatch struct {
	t     *testing.T
	began time.Time
	gaps  map[string]time.Duration // without a holder
	gone  map[string]time.Time     // the old holder was first seen without it
	looks int
	end   func()
}

// whole ends the watch and checks that the addresses, which went to a node that
// advertises with priority, always had a holder: the old one until 20 ms after
// the new one's announcement. It waits 200 ms for that, so that a starved
// machine may have a gap.
func (w *gapWatch) whole(what string, to *router, priority int, vips ...string) {
	w.t.Helper()
	w.end()
	for _, vip := range vips {
		leg := map[string]*node{innerVIP: to.node, outerVIP: to.outer}[vip]
		first := w.first(leg, adverts(leg, priority))
		garp := w.first(leg, gratuitous(leg, vip))
		slow, stayed := garp.Sub(first), w.gone[vip].Sub(garp)
		w.t.Logf("%s: %s announced %s after the first advertisement, let go %s later; no holder for %s in %d looks",
			what, vip, slow, stayed, w.gaps[vip], w.looks)
		if (w.gaps[vip] > 0 || stayed < 19*time.Millisecond) && slow < 150*time.Millisecond {
			to.punctual()
			w.t.Errorf("%s: %s had no holder for %s, and the old one had it for %s after the announcement", what, vip, w.gaps[vip], stayed)
		}
	}
}

// first frame of that kind since the watch began.
func (w *gapWatch) first(n *node, match func([]byte) bool) time.Time {
	w.t.Helper()
	for _, f := range n.s.cap.find(match) {
		if !f.at.Before(w.began) {
			return f.at
		}
	}
	w.t.Fatalf("%s has sent nothing of that kind", n.addr)
	return time.Time{}
}

// watchGap begins to watch the addresses that go from one node to the other.
func watchGap(t *testing.T, from, to *router) *gapWatch {
	t.Helper()
	w := &gapWatch{t: t, began: time.Now(), gaps: map[string]time.Duration{}, gone: map[string]time.Time{}}
	var h [2]*netlink.Handle
	var index [2]map[string]netlink.Link
	for i, r := range []*router{from, to} {
		ns, err := netns.GetFromPid(r.cmd.Process.Pid)
		must(t, err)
		h[i], err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		ns.Close()
		must(t, err)
		index[i] = map[string]netlink.Link{}
		for vip, name := range map[string]string{innerVIP: "eth0", outerVIP: "eth1"} {
			index[i][vip], err = h[i].LinkByName(name)
			must(t, err)
		}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		began := map[string]time.Time{}
		last := false
		for {
			w.looks++
			for _, vip := range []string{innerVIP, outerVIP} {
				// The old holder first: if it has let go and the new one has
				// nothing after that, nobody had it in between.
				held := false
				for i := range h {
					list, err := h[i].AddrList(index[i][vip], netlink.FAMILY_V4)
					if err != nil {
						t.Errorf("addresses: %v", err)
					}
					here := slices.ContainsFunc(list, func(x netlink.Addr) bool { return x.IP.String() == vip })
					if i == 0 && !here && w.gone[vip].IsZero() {
						w.gone[vip] = time.Now()
					}
					held = held || here
				}
				switch at, ok := began[vip]; {
				case !held && !ok:
					began[vip] = time.Now()
				case ok:
					w.gaps[vip] += time.Since(at)
					delete(began, vip)
					if !held {
						began[vip] = time.Now()
					}
				}
			}
			if last {
				return
			}
			select {
			case <-stop:
				last = true // what whoever stops us has seen is seen here, too
			case <-time.After(500 * time.Microsecond):
			}
		}
	}()
	w.end = func() {
		select {
		case <-stop:
		default:
			close(stop)
		}
		<-done
	}
	t.Cleanup(func() {
		w.end()
		h[0].Close()
		h[1].Close()
	})
	return w
}

// announcedLast tells whether neighbours know the winner.
func announcedLast(winner, loser *node, vip string) bool {
	won, lost := winner.s.cap.find(gratuitous(winner, vip)), loser.s.cap.find(gratuitous(loser, vip))
	return len(won) > 0 && (len(lost) == 0 || !lost[len(lost)-1].at.After(won[len(won)-1].at))
}
