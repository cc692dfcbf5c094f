package health

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var target = netip.MustParseAddrPort("192.0.2.7:80")

func spec(interval, timeout time.Duration) Spec {
	return Spec{Target: target, Method: &Method{Type: TCP, Interval: interval, Timeout: timeout, Rise: 1, Fall: 1}}
}

const ms = int64(time.Millisecond)

func TestNext(t *testing.T) {
	tm := timing{interval: 1000 * ms, fast: 100 * ms, down: 3000 * ms, timeout: 2000 * ms, phase: 250 * ms}
	up, doubt, down, rising := Verdict{State: Up, Streak: 5}, Verdict{State: Up, Streak: -1}, Verdict{State: Down, Streak: -3}, Verdict{State: Down, Streak: 1}
	for name, tc := range map[string]struct {
		v           Verdict
		prev, ended int64 // ms
		want        int64
	}{
		"grid":                            {up, 5250, 5260, 6250},
		"back to the grid from before":    {up, 5000, 5010, 6250},
		"back to the grid from behind":    {up, 5800, 5810, 7250},
		"never closer than half":          {up, 5740, 5741, 6250},
		"fast in doubt":                   {doubt, 5250, 5260, 5350},
		"slow while down":                 {down, 5250, 5260, 8250},
		"fast when it comes back":         {rising, 5250, 5260, 5350},
		"no verdict yet":                  {Verdict{}, 5250, 5260, 6250},
		"overrun is due at once":          {up, 5250, 6400, 6250},
		"missed instants are not made up": {up, 5250, 8400, 8250},
	} {
		if got := tm.next(tc.v, tc.prev*ms, tc.ended*ms); got != tc.want*ms {
			t.Errorf("%s: %d ms, want %d", name, got/ms, tc.want)
		}
	}
}

func TestScheduleProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		iv := rapid.Int64Range(1, 20_000).Draw(t, "interval ms") * ms
		s := spec(time.Duration(iv), time.Second)
		s.FastInterval = time.Duration(rapid.Int64Range(0, 20_000).Draw(t, "fast ms") * ms)
		s.DownInterval = time.Duration(rapid.Int64Range(0, 20_000).Draw(t, "down ms") * ms)
		s.Jitter = rapid.Float64Range(0, 1).Draw(t, "jitter")
		now := rapid.Int64Range(0, 1<<60).Draw(t, "now")
		tm := newTiming(s, s.Key(), "a")
		at := tm.first(now)
		if at < now || at-now > min(iv, quickSweep) {
			t.Fatalf("first run after %v", time.Duration(at-now))
		}
		for i := 0; i < 20; i++ {
			v := Verdict{State: rapid.SampledFrom([]State{Unknown, Up, Down}).Draw(t, "state"), Streak: rapid.IntRange(-3, 3).Draw(t, "streak")}
			ended := at + rapid.Int64Range(0, 3*iv).Draw(t, "took")
			next := tm.next(v, at, ended)
			step := tm.step(v)
			if next <= at {
				t.Fatalf("run %v after the one before", next-at)
			}
			if ended-next >= step {
				t.Fatalf("missed runs are made up for: planned %v before the end", ended-next)
			}
			if v.State == Up && v.Streak >= 0 {
				if (next-tm.phase)%iv != 0 {
					t.Fatalf("off the grid by %v", (next-tm.phase)%iv)
				}
				if ended <= at+iv/2 && (next-at <= iv/2 || next-at > iv*3/2+1) {
					t.Fatalf("%v between two runs at interval %v", next-at, iv)
				}
			}
			if m := tm.move(next, v, rapid.Float64Range(0, 0.999).Draw(t, "r")); m < next || m-next > step {
				t.Fatalf("jitter moves by %v of %v", m-next, step)
			}
			at = next
		}
	})
}

// Phases spread evenly, stay over a restart, and differ between two nodes.
func TestPhases(t *testing.T) {
	const n, bins = 5000, 50
	var count [bins]int
	same := 0
	for i := range n {
		s := spec(time.Second, time.Second)
		s.Target = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 8, byte(i / 250), byte(i%250 + 1)}), 80)
		a, b := newTiming(s, s.Key(), "lvs1"), newTiming(s, s.Key(), "lvs2")
		if a != newTiming(s, s.Key(), "lvs1") {
			t.Fatal("another phase after a restart")
		}
		if d := (a.phase - b.phase + 1000*ms) % (1000 * ms); d < 5*ms || d > 995*ms {
			same++
		}
		count[a.phase*bins/(1000*ms)]++
	}
	for i, k := range count {
		if k < n/bins/2 || k > n/bins*2 {
			t.Errorf("%d of %d phases in part %d of %d", k, n, i, bins)
		}
	}
	if same > n/50 { // 1 % by chance
		t.Errorf("%d of %d checks run within 5 ms of the other director's", same, n)
	}
}

func TestTick(t *testing.T) {
	for _, tc := range []struct{ d, want time.Duration }{
		{time.Second, 5 * time.Millisecond}, {time.Minute, 5 * time.Millisecond},
		{100 * time.Millisecond, 500 * time.Microsecond}, {10 * time.Millisecond, 50 * time.Microsecond}, {time.Millisecond, 5 * time.Microsecond},
	} {
		if got := tick(int64(tc.d)); got != int64(tc.want) {
			t.Errorf("tick for %v is %v, want %v", tc.d, time.Duration(got), tc.want)
		}
	}
}

func TestKey(t *testing.T) {
	base := spec(time.Second, time.Second)
	http := with(base, func(s *Spec) { s.Type = HTTP })
	udp := with(base, func(s *Spec) { s.Type = UDP })
	same := map[string][2]Spec{
		"defaults of intervals":     {base, with(base, func(s *Spec) { s.FastInterval, s.DownInterval = time.Second, time.Second })},
		"default handshake":         {base, with(base, func(s *Spec) { s.TCP.Handshake = "half-open" })},
		"close without a handshake": {base, with(base, func(s *Spec) { s.TCP.Close = "reset" })},
		"options of another type":   {base, with(base, func(s *Spec) { s.HTTP.Path = "/x" })},
		"mapped address": {base, with(base, func(s *Spec) {
			s.Target = netip.AddrPortFrom(netip.AddrFrom16(target.Addr().As16()), 80)
		})},
		"http defaults": {http, with(http, func(s *Spec) {
			s.HTTP = HTTPOptions{Method: "GET", Path: "/", ExpectStatus: []StatusRange{{200, 399}}, BodyLimit: 9}
		})},
		"udp zero octet": {udp, with(udp, func(s *Spec) { s.UDP.Send = []byte{0} })},
		"udp full mask": {with(udp, func(s *Spec) { s.UDP.Expect = []byte("a") }),
			with(udp, func(s *Spec) { s.UDP.Expect, s.UDP.Mask = []byte("a"), []byte{0xff} })},
	}
	for name, p := range same {
		if p[0].Key() != p[1].Key() {
			t.Errorf("%s: %q and %q", name, p[0].Key(), p[1].Key())
		}
	}
	seen := map[Key]string{}
	add := func(name string, s Spec, f func(*Spec)) {
		k := with(s, f).Key()
		if other := seen[k]; other != "" {
			t.Errorf("%s and %s share the key %q", name, other, k)
		}
		seen[k] = name
	}
	add("base", base, func(*Spec) {})
	add("http", http, func(*Spec) {})
	add("udp", udp, func(*Spec) {})
	add("port", base, func(s *Spec) { s.Target = netip.MustParseAddrPort("192.0.2.7:81") })
	add("interval", base, func(s *Spec) { s.Interval = 2 * time.Second })
	add("fast", base, func(s *Spec) { s.FastInterval = time.Millisecond })
	add("down", base, func(s *Spec) { s.DownInterval = time.Millisecond })
	add("timeout", base, func(s *Spec) { s.Timeout = 2 * time.Second })
	add("rise", base, func(s *Spec) { s.Rise = 2 })
	add("fall", base, func(s *Spec) { s.Fall = 2 })
	add("jitter", base, func(s *Spec) { s.Jitter = 0.1 })
	add("source", base, func(s *Spec) { s.Source = netip.MustParseAddr("192.0.2.1") })
	add("full", base, func(s *Spec) { s.TCP.Handshake = "full" })
	add("full reset", base, func(s *Spec) { s.TCP.Handshake, s.TCP.Close = "full", "reset" })
	add("method", http, func(s *Spec) { s.HTTP.Method = "HEAD" })
	add("path", http, func(s *Spec) { s.HTTP.Path = "/a" })
	add("host", http, func(s *Spec) { s.HTTP.Host = "a" })
	add("headers", http, func(s *Spec) { s.HTTP.Headers = []string{"A: b", "C: d"} })
	add("header", http, func(s *Spec) { s.HTTP.Headers = []string{"A: b\" h\"C: d"} })
	add("status", http, func(s *Spec) { s.HTTP.ExpectStatus = []StatusRange{{200, 200}} })
	add("body", http, func(s *Spec) { s.HTTP.ExpectBody = "a" })
	add("limit", http, func(s *Spec) { s.HTTP.ExpectBody, s.HTTP.BodyLimit = "a", 5 })
	add("send", udp, func(s *Spec) { s.UDP.Send = []byte("a") })
	add("expect", udp, func(s *Spec) { s.UDP.Expect = []byte("a") })
	add("mask", udp, func(s *Spec) { s.UDP.Expect, s.UDP.Mask = []byte("a"), []byte{0xf0} })
	add("no reply", udp, func(s *Spec) { s.UDP.NoReply = true })
}

// with is s changed, with a Method of its own.
func with(s Spec, f func(*Spec)) Spec {
	m := *s.Method
	s.Method = &m
	f(&s)
	return s
}

func BenchmarkKey(b *testing.B) {
	s := spec(time.Second, time.Second)
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Key()
	}
}

func ExampleSpec_Key() {
	fmt.Println(Spec{Target: target, Method: &Method{Type: TCP, Interval: time.Second}}.Key())
	// Output: tcp 192.0.2.7:80 1000/1000 1/1
}
