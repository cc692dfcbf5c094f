package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var cmpAddr = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func TestParseTable(t *testing.T) {
	got := parseTable(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000064:0050 wlc persistent 300 FFFFFFFF
  -> 0A000016:0050      Route   0      0          12
  -> 0A000015:0050      Route   1      3          4
TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr
FWM  00000015 rr
  -> 0A000015:0000      Masq    10     0          0
`)
	ap := netip.MustParseAddrPort
	want := []VirtualService{
		{Protocol: "TCP", Addr: ap("10.0.0.100:80"), Scheduler: "wlc", Flags: "persistent 300 FFFFFFFF", Servers: []RealServer{
			{Addr: ap("10.0.0.22:80"), Forward: "Route", Inactive: 12},
			{Addr: ap("10.0.0.21:80"), Forward: "Route", Weight: 1, Active: 3, Inactive: 4},
		}},
		{Protocol: "TCP", Addr: ap("[2001:db8::1]:80"), Scheduler: "rr"},
		{Protocol: "FWM", FWMark: 21, Scheduler: "rr", Servers: []RealServer{{Addr: ap("10.0.0.21:0"), Forward: "Masq", Weight: 10}}},
	}
	if d := cmp.Diff(want, got, cmpAddr); d != "" {
		t.Error(d)
	}
}

func TestParseMetrics(t *testing.T) {
	m := ParseMetrics(`# HELP a b
# TYPE a counter
a_total{service="web",server="web1"} 3
a_total{service="web",server="web2"} 4
b 1.5e+09
broken
`)
	if v, ok := m.Get("a_total", "service", "web"); v != 7 || !ok {
		t.Errorf("sum %v %v", v, ok)
	}
	if v, ok := m.Get("a_total", "server", "web2"); v != 4 || !ok {
		t.Errorf("one %v %v", v, ok)
	}
	if v, ok := m.Get("b"); v != 1.5e9 || !ok {
		t.Errorf("plain %v %v", v, ok)
	}
	if _, ok := m.Get("a_total", "server", "web3"); ok {
		t.Error("found what is not there")
	}
	if d := cmp.Diff([]string{"a_total", "b"}, m.Names()); d != "" {
		t.Error(d)
	}
}

func TestSummarize(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(ms int, server, err string) Request {
		s := t0.Add(time.Duration(ms) * time.Millisecond)
		return Request{Start: s, End: s.Add(time.Millisecond), Server: server, Err: err}
	}
	reqs := []Request{at(0, "a", ""), at(10, "b", ""), at(30, "", "x"), at(20, "", "x"), at(40, "a", ""), at(50, "b", ""), at(90, "b", ""), at(100, "", "y")}
	s := Summarize(reqs, time.Time{}, time.Time{})
	if s.OK != 5 || s.Failed != 3 || s.WorstGap != 30*time.Millisecond || !s.LastFailure.Equal(t0.Add(100*time.Millisecond)) {
		t.Errorf("all: %+v", s)
	}
	if s.String() != "a 2, b 3; 3 failed (x 2, y 1), gap 30ms" {
		t.Errorf("text: %s", s)
	}
	// Slow without a failure is no gap; the limits are [from, to).
	s = Summarize(reqs, t0.Add(40*time.Millisecond), t0.Add(100*time.Millisecond))
	if s.OK != 3 || s.Failed != 0 || s.WorstGap != 0 {
		t.Errorf("part: %+v", s)
	}
	if s := Summarize(nil, time.Time{}, time.Time{}); s.OK+s.Failed != 0 || s.String() != "0 answered" {
		t.Errorf("nothing: %+v", s)
	}
}

func TestParseAdvert(t *testing.T) {
	v3 := []byte{0x45, 0xc0, 0, 32, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18,
		0x31, 51, 200, 1, 0x00, 10, 0, 0, 10, 0, 0, 100}
	a, ok := parseAdvert(append(v3, 0, 0, 0, 0)) // Ethernet padding
	want := Advert{From: netip.MustParseAddr("10.0.0.1"), Version: 3, VRID: 51, Priority: 200, Interval: 100 * time.Millisecond, VIPs: []netip.Addr{VIP}}
	if d := cmp.Diff(want, a, cmpAddr); !ok || d != "" {
		t.Errorf("%v %s", ok, d)
	}
	for n := range len(v3) {
		if _, ok := parseAdvert(v3[:n]); ok {
			t.Errorf("accepts the first %d octets", n)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("TCP  0A000064:0050 rr\n  -> 0A000015:0050 Route 1 0 0\na{b=\"c\"} 1\n"))
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18, 0x31, 51, 200, 1, 0, 10, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		parseTable(string(b))
		ParseMetrics(string(b))
		parseAdvert(b)
		s := &Sniffer{}
		s.take(time.Time{}, b)
	})
}
