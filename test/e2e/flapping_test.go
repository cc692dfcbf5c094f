package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/lab"
)

const (
	flappingServers = 50
	flappingShort   = time.Minute
	flappingFor     = time.Hour       // of the guest's time
	flappingWarm    = 5 * time.Minute // before the first look
	flappingLook    = 5 * time.Minute
	flappingEvery   = 10 * time.Second // a check
	// leastFlaps of each server, both ways together. Each changes some 260 times in
	// an hour and five minutes, and a check may miss a few.
	leastFlaps = 200
)

// TestFlatUnderFlapping: fifty servers that come and go by a script, each some
// hundreds of times in an hour: neither process grows. The script is of the seed.
// What an hour costs is what wakes up in it, so a check comes each ten seconds and
// waits for 50 ms, and nobody looks in between.
func TestFlatUnderFlapping(t *testing.T) {
	if os.Getenv("LVSHA_LONG") != "1" {
		t.Skip("an hour of the guest's time: runs with LVSHA_LONG=1 (make test-long)")
	}
	binary(t)
	needIPVS(t)
	seed, _ := seeds(t)
	s := open(t, lab.Options{Mode: lab.DR, Servers: 1})
	s.ctx = t.Context()       // longer than a scenario
	s.must(s.sniffer.Close()) // nobody asks it, and it would read all probes
	s.sniffer = nil
	s.set.Servers = nil
	s.set.Advert = time.Second
	s.set.Extra = flappingConfig()
	s.pair()
	troupe := s.flap(seed)

	// What goroutines the speaker has is seen only in its last words: those of
	// one that ran shortly are the measure for the one that runs long.
	var seen []footprint
	look := func(began time.Time, p *lab.Process) {
		f := s.footprint(p)
		t.Log(time.Since(began).Round(time.Second), f)
		if time.Since(began) >= flappingWarm {
			seen = append(seen, f)
		}
	}
	short := s.lastWords(s.flapUntil(flappingShort, flappingShort, look))
	p := s.flapUntil(flappingWarm+flappingFor, flappingLook, look)
	m, err := s.lvs1.Metrics(s.ctx)
	s.must(err)
	long := s.lastWords(p)
	troupe.stop()

	t.Logf("goroutines of the speaker: %d after %s, %d after %s", short, flappingShort, long, flappingFor+flappingWarm)
	if long > short+2 {
		t.Errorf("the speaker's goroutines have grown from %d to %d", short, long)
	}
	judge(t, seen)
	// And it was flapping.
	ok, _ := m.Get("lvs_ha_check_runs_total", "result", "ok")
	failed, _ := m.Get("lvs_ha_check_runs_total", "result", "fail")
	changes, _ := m.Get("lvs_ha_server_transitions_total")
	writes, _ := m.Get("lvs_ha_ipvs_operations_total")
	t.Logf("seed %d: %v probes passed, %v failed, %v changes of verdict, %v operations in the kernel", seed, ok, failed, changes, writes)
	if wanted := flappingServers * float64(flappingFor/flappingEvery); ok+failed < wanted || ok < wanted/4 || failed < wanted/4 || writes < changes/2 {
		t.Error("that is no flapping")
	}
	for i := range flappingServers {
		if n, _ := m.Get("lvs_ha_server_transitions_total", "server", fmt.Sprintf("s%d", i)); n < leastFlaps {
			t.Errorf("server %d has changed %v times, less than %d", i, n, leastFlaps)
		}
	}
	for _, reason := range []string{"timeout", "refused", "reset", "status", "protocol"} {
		if n, _ := m.Get("lvs_ha_check_failures_total", "reason", reason); n < 100 {
			t.Errorf("only %v failures are %q", n, reason)
		}
	}
}

// flappingConfig is a service for each sort of check, their servers on the
// addresses of one machine.
func flappingConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[sync]\ninterface = \"eth0\"\nid = %d\nfollow = %q\n[ipvs]\nreconcile_interval = \"10s\"\n", lab.SyncID, lab.Instance)
	b.WriteString("[defaults]\nscheduler = \"wrr\"\nforward = \"dr\"\nremove_after = \"10s\"\n")
	fmt.Fprintf(&b, "[defaults.check]\ninterval = \"%v\"\nfast_interval = \"200ms\"\ntimeout = \"50ms\"\nfall = 2\nrise = 2\n", flappingEvery)
	for _, k := range []struct{ kind, proto, check string }{{"http", "tcp", `path = "/"`}, {"agent", "tcp", "port = 8081"}, {"udp", "udp", `send_hex = "70696e67"`}} {
		fmt.Fprintf(&b, "[[service]]\nname = %q\naddress = %q\nport = %d\nprotocol = %q\nservers = [\n", k.kind, lab.VIP, flappingPort(k.kind), k.proto)
		for i := range flappingServers {
			if flappingKind(i) == k.kind {
				fmt.Fprintf(&b, "  { name = \"s%d\", address = %q },\n", i, flappingAddr(i))
			}
		}
		fmt.Fprintf(&b, "]\n[[service.check]]\ntype = %q\n%s\n", k.kind, k.check)
	}
	return b.String()
}

// flappingKind is how the i-th server is checked.
func flappingKind(i int) string {
	switch {
	case i < 25:
		return "http"
	case i < 40:
		return "agent"
	}
	return "udp"
}

func flappingPort(kind string) uint16 {
	return map[string]uint16{"http": 8080, "agent": 8081, "udp": 8082}[kind]
}

func flappingAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(101 + i)}) }

// troupe are the servers. They live in this process, on sockets of the one machine.
type troupe struct {
	over chan struct{}
	wg   sync.WaitGroup
}

func (tr *troupe) stop() {
	select {
	case <-tr.over:
	default:
		close(tr.over)
	}
	tr.wg.Wait()
}

// flap starts the servers; each follows its own script.
func (s *scene) flap(seed uint64) *troupe {
	s.Helper()
	host := s.Servers[0].Host
	s.sh(host, fmt.Sprintf("for i in $(seq 101 %d); do ip addr add 10.0.0.$i/32 dev eth0; done", 100+flappingServers))
	tr := &troupe{over: make(chan struct{})}
	s.Cleanup(tr.stop)
	for i := range flappingServers {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		at := netip.AddrPortFrom(flappingAddr(i), flappingPort(flappingKind(i))).String()
		serve := func(act int) (func(), error) { return serveTCP(host, at, flappingKind(i), act) }
		if flappingKind(i) == "udp" {
			serve = func(act int) (func(), error) { return serveUDP(host, at, act) }
		}
		tr.wg.Go(func() {
			for n := rng.IntN(2); ; n++ {
				act := well // every other time
				if n%2 == 1 {
					act = 1 + rng.IntN(acts-1)
				}
				leave, err := serve(act)
				if err != nil {
					s.Errorf("%s: %v", at, err)
					return
				}
				over := false
				select {
				case <-tr.over:
					over = true
				case <-time.After(flappingEvery + time.Duration(rng.Int64N(int64(flappingEvery)))): // a check sees it
				}
				leave()
				if over {
					return
				}
			}
		})
	}
	return tr
}

// What a server does for a while.
const (
	well   = iota
	absent // nobody listens
	reset
	hung
	broken   // says that it is not well
	nonsense // says what nobody understands
	acts
)

// serveTCP answers on a socket of the host until what it returns is called.
func serveTCP(host *lab.Host, at, kind string, act int) (leave func(), err error) {
	if act == absent {
		return func() {}, nil
	}
	answer := map[string]map[int]string{
		"http":  {well: "HTTP/1.0 200 OK\r\n\r\n", broken: "HTTP/1.0 503 Service Unavailable\r\n\r\n", nonsense: "\x00\xffwhat?\r\n\r\n"},
		"agent": {well: "up 100%\n", broken: "down\n", nonsense: "\x00\xffwhat?\n"},
	}[kind][act]
	var ln net.Listener
	if err := host.Do(func() (err error) { ln, err = net.Listen("tcp", at); return err }); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done) // before that the port is not free
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				switch act {
				case reset:
					_ = c.(*net.TCPConn).SetLinger(0)
					return
				case hung:
				default:
					_, _ = io.WriteString(c, answer)
					_ = c.(*net.TCPConn).CloseWrite()
				}
				_, _ = io.Copy(io.Discard, c) // closing with something unread would be a reset
			}()
		}
	}()
	return func() { ln.Close(); <-done }, nil
}

// serveUDP is serveTCP for datagrams: who is not well answers nothing or is absent.
func serveUDP(host *lab.Host, at string, act int) (leave func(), err error) {
	if act == absent || act == reset {
		return func() {}, nil
	}
	var pc net.PacketConn
	if err := host.Do(func() (err error) { pc, err = net.ListenPacket("udp", at); return err }); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if act == well {
				_, _ = pc.WriteTo(buf[:n], from)
			}
		}
	}()
	return func() { pc.Close(); <-done }, nil
}

// flapUntil starts lvs1 and lets it run so long; look is called each so often. It
// returns the running process.
func (s *scene) flapUntil(d, often time.Duration, look func(began time.Time, p *lab.Process)) *lab.Process {
	s.Helper()
	s.must(s.lvs1.Start())
	s.slowly(30*time.Second, "lvs1 holds the VIP", func() error { return s.lvs1.CheckVIP(true) })
	began := time.Now()
	for at := began.Add(often); !at.After(began.Add(d)); at = at.Add(often) {
		s.must(lab.Pause(s.ctx, time.Until(at)))
		look(began, s.lvs1.Process())
	}
	return s.lvs1.Process()
}

// lastWords ends the agent by SIGQUIT, which makes the speaker print its
// goroutines, and counts them.
func (s *scene) lastWords(p *lab.Process) int {
	s.Helper()
	s.must(p.Signal(unix.SIGQUIT))
	_, err := p.Wait(limited(s.ctx, 20*time.Second))
	s.must(err)
	n := strings.Count(p.Log(), "\ngoroutine ")
	if n < 5 {
		s.Fatalf("%d goroutines in its last words", n)
	}
	s.must(os.Remove(p.LogPath)) // the next one counts anew
	s.within(20*time.Second, "the director has ended with it", func() error {
		_, err := s.lvs1.Metrics(s.ctx)
		if err == nil {
			return errorf("somebody answers")
		}
		return nil
	})
	return n
}

// footprint of an agent: the speaker first, then the director.
type footprint [2]struct {
	rss         float64 // MB
	anonymous   float64 // MB of that, not of files
	descriptors int
	threads     int
	goroutines  int // of the director
}

func (f footprint) String() string {
	return fmt.Sprintf("speaker %+v director %+v", f[0], f[1])
}

func (s *scene) footprint(p *lab.Process) (f footprint) {
	s.Helper()
	children := p.Children()
	if len(children) != 1 {
		s.Fatalf("the speaker has the children %v", children)
	}
	m, err := s.lvs1.Metrics(s.ctx)
	s.must(err)
	for i, pid := range []int{p.PID, children[0]} {
		f[i].rss, f[i].anonymous = memory(s.T, pid, "VmRSS"), memory(s.T, pid, "RssAnon")
		for dir, n := range map[string]*int{"fd": &f[i].descriptors, "task": &f[i].threads} {
			list, err := filepath.Glob(fmt.Sprintf("/proc/%d/%s/*", pid, dir))
			s.must(err)
			*n = len(list)
		}
	}
	n, _ := m.Get("go_goroutines")
	f[1].goroutines = int(n)
	return f
}

// judge looks for a trend: the straight line through all looks may rise by so
// much and no more over their whole time.
func judge(t *testing.T, seen []footprint) {
	t.Helper()
	for i, name := range []string{"speaker", "director"} {
		for _, q := range []struct {
			what  string
			limit float64
			of    func(footprint) float64
		}{
			{"MB resident", 2, func(f footprint) float64 { return f[i].rss }},
			{"descriptors", 3, func(f footprint) float64 { return float64(f[i].descriptors) }},
			{"threads", 2, func(f footprint) float64 { return float64(f[i].threads) }},
			{"goroutines", 3, func(f footprint) float64 { return float64(f[i].goroutines) }},
		} {
			var v []float64
			for _, f := range seen {
				v = append(v, q.of(f))
			}
			rise := trend(v)
			t.Logf("%s: %.1f to %.1f %s, trend %+.2f", name, slices.Min(v), slices.Max(v), q.what, rise)
			if rise > q.limit {
				t.Errorf("the %s grows by %.2f %s, at most %v is flat: %v", name, rise, q.what, q.limit, v)
			}
		}
	}
}

// trend is how much the straight line that fits best rises from the first value to the last.
func trend(v []float64) float64 {
	n := float64(len(v))
	var sx, sy, sxx, sxy float64
	for i, y := range v {
		x := float64(i)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n - 1) * (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func TestTrend(t *testing.T) {
	for want, v := range map[float64][]float64{0: {5, 5, 5}, 4: {1, 2, 3, 4, 5}, -2: {3, 2, 1}} {
		if got := trend(v); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%v rises by %v, want %v", v, got, want)
		}
	}
}
