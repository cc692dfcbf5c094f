package vip

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// What an announcement needs is there before the addresses are wanted.
func TestLinksArePreparedAheadOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		defer b.stop()
		b.watches[0](Interface{Name: "eth0", Index: 2, Up: true})
		synctest.Wait()
		expect(t, "as backup", b.s.prepared, "eth0@2")
	})
}

// To listen for claims costs as much as an announcement: neighbours come first,
// but nothing waits for them for ever.
func TestClaimsAreListenedForAfterTheAnnouncement(t *testing.T) {
	now := time.Unix(1000, 0)
	k, s := newFakeKernel(), &fakeSender{t0: now}
	k.links["none"] = k.links["eth0"] // nothing is listened to on a link of this machine
	c := two()
	c.Interface = "none"
	watch := func(string, func(Interface)) func() { return func() {} }
	h := newHolder(k, s, watch, c, slog.New(slog.DiscardHandler), func(Report) {})
	h.OnClaim(func(netip.Addr, string, net.HardwareAddr) {})
	listening := func(w *worker) bool { return len(w.claims.list) > 0 }
	hold := wanted{config: c, hold: true, order: 1}

	w := newWorker(h)
	defer w.close()
	next, ok := w.turn(hold, now)
	if listening(w) || !ok || next.After(now.Add(listenWait)) {
		t.Fatalf("held: listening %v, next turn %s, %v", listening(w), next.Sub(now), ok)
	}
	announce := hold
	announce.full++
	w.turn(announce, now.Add(time.Millisecond))
	if !listening(w) || len(s.take()) != 2 {
		t.Error("announced, but not listening")
	}

	w = newWorker(h)
	defer w.close()
	w.turn(hold, now)
	w.turn(hold, now.Add(listenWait))
	if !listening(w) {
		t.Error("nobody asked for an announcement, and nobody listens")
	}
}
