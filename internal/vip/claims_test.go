package vip

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/packet"
)

func TestParseClaim(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	arp, _ := gratuitousARP(mac, netip.MustParseAddr("192.0.2.1"), 2)
	na, _ := unsolicitedNA(mac, netip.MustParseAddr("2001:db8::1"), false)
	for want, f := range map[string][]byte{"192.0.2.1": arp, "2001:db8::1": na} {
		a, m, ok := parseClaim(f)
		if !ok || a.String() != want || m.String() != mac.String() {
			t.Errorf("%s: %v %v %v", want, a, m, ok)
		}
		for n := range 42 {
			if _, _, ok := parseClaim(f[:n]); ok {
				t.Errorf("%s: %d octets were enough", want, n)
			}
		}
	}
	hops := append([]byte(nil), na...)
	hops[21] = 64 // came from elsewhere (RFC 4861 section 7.1.2)
	if _, _, ok := parseClaim(hops); ok {
		t.Error("a routed advertisement was believed")
	}
}

func FuzzParseClaim(f *testing.F) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	arp, _ := gratuitousARP(mac, netip.MustParseAddr("192.0.2.1"), 1)
	na, _ := unsolicitedNA(mac, netip.MustParseAddr("2001:db8::1"), false)
	f.Add(arp)
	f.Add(na)
	f.Add(na[:80])
	f.Fuzz(func(t *testing.T, b []byte) {
		a, mac, ok := parseClaim(b)
		if ok && (!a.IsValid() || len(mac) != 6) {
			t.Errorf("%v %v", a, mac)
		}
	})
}

func TestClaimsOfOthersOnly(t *testing.T) {
	t.Parallel()
	pair(t, "vf0", "vf1")
	var mu sync.Mutex
	heard := map[string]int{}
	c := NewClaims("vf0", []netip.Addr{netip.MustParseAddr("192.0.2.60"), netip.MustParseAddr("2001:db8::60")}, func(c Claim) {
		mu.Lock()
		defer mu.Unlock()
		heard[c.Address.String()+" "+c.HardwareAddr.String()]++
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	peer, _ := net.InterfaceByName("vf1")
	own, _ := net.InterfaceByName("vf0")
	conn, err := packet.Listen(peer, packet.Raw, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(f []byte, err error) {
		if err == nil {
			_, err = conn.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	foreign := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	get := func(k string) int { mu.Lock(); defer mu.Unlock(); return heard[k] }
	eventually(t, 3*time.Second, "claims", func() bool {
		send(gratuitousARP(foreign, netip.MustParseAddr("192.0.2.99"), 1))          // not ours
		send(gratuitousARP(own.HardwareAddr, netip.MustParseAddr("192.0.2.60"), 1)) // ourselves
		send(gratuitousARP(foreign, netip.MustParseAddr("192.0.2.60"), 1))
		send(unsolicitedNA(foreign, netip.MustParseAddr("2001:db8::60"), false))
		return get("192.0.2.60 "+foreign.String()) > 0 && get("2001:db8::60 "+foreign.String()) > 0
	})
	mu.Lock()
	if len(heard) != 2 {
		t.Errorf("heard %v", heard)
	}
	mu.Unlock()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What does not concern us is not even read, and a flood of what does costs
// little: this process may have the CPU before all others.
func TestFloodOfClaims(t *testing.T) {
	pair(t, "vp0", "vp1")
	var four, six []netip.Addr
	for i := range 255 { // as many as an instance can have
		four = append(four, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		six = append(six, netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 15: byte(i)}))
	}
	var told atomic.Uint64
	c := NewClaims("vp0", append(four, six...), func(Claim) { told.Add(1) })
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	peer, err := net.InterfaceByName("vp1")
	must(t, err)
	conn, err := packet.Listen(peer, packet.Raw, 0, nil)
	must(t, err)
	defer conn.Close()
	foreign := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	send := func(f []byte, err error) {
		must(t, err)
		_, _ = conn.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
	}
	eventually(t, 3*time.Second, "listening", func() bool {
		send(gratuitousARP(foreign, four[254], 1))
		send(unsolicitedNA(foreign, six[254], false))
		return told.Load() >= 2
	})
	before := c.heard.Load()
	for range 1000 {
		send(unsolicitedNA(foreign, netip.MustParseAddr("2001:db8:1::1"), false))
	}
	sent := 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); sent++ {
		send(gratuitousARP(foreign, four[7], 1))
	}
	// One a millisecond, and what the busy machine adds.
	if n := c.heard.Load() - before; n > 700 || n == 0 {
		t.Errorf("read %d frames of %d in half a second", n, sent)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
