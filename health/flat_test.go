package health

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// flapping is a server that answers, resets, hangs and talks nonsense by turns.
func flapping(t *testing.T, answer string) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience)) // whatever the other side forgets
				switch k := n % 20; {
				case k < 10:
					io.WriteString(c, answer)
					c.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, c)
				case k < 14:
					c.(*net.TCPConn).SetLinger(0)
				case k < 16:
					io.Copy(io.Discard, c)
				default:
					io.WriteString(c, "\x00\xffwhat?\r\n\r\n")
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// use is what this process holds.
type use struct{ fds, goroutines, heap int }

func (u use) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %d kB of heap", u.fds, u.goroutines, u.heap>>10)
}

func inUse(t *testing.T) use {
	runtime.GC()
	runtime.GC() // what finalizers have let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return use{len(fds), runtime.NumGoroutine(), int(m.HeapAlloc)}
}

// Fifty flapping servers, with LVSHA_LONG as many probes as an hour of one a
// second brings: descriptors, goroutines and memory do not grow.
func TestFlatUnderFlapping(t *testing.T) {
	warm, rounds := uint64(60), uint64(100)
	if os.Getenv("LVSHA_LONG") == "1" {
		rounds = 3600
	}
	var udp atomic.Uint64
	echo := udpServer(t, func(b []byte) []byte {
		switch n := udp.Add(1) % 20; {
		case n < 12:
			return b
		case n < 16:
			return []byte("?")
		}
		return nil
	})
	var specs []Spec
	for i := range 50 {
		m := Method{Interval: 10 * time.Millisecond, Timeout: 20 * time.Millisecond, Rise: 1, Fall: 2, Hold: i%3 == 0}
		to := echo
		switch {
		case i < 25:
			m.Type, to = HTTP, flapping(t, "HTTP/1.0 200 OK\r\n\r\n")
		case i < 40:
			m.Type, to = Agent, flapping(t, "up\n")
		default:
			m.Type, m.Hold = UDP, false
			m.UDP = UDPOptions{Send: []byte{byte(i)}, Expect: []byte{byte(i)}}
		}
		specs = append(specs, Spec{Target: to, Method: &m})
	}
	s := NewScheduler(Options{})
	run(t, s, specs...)
	done := func(n uint64) func() bool {
		return func() bool {
			for _, x := range specs {
				if probes(s, x.Key()) < n {
					return false
				}
			}
			return true
		}
	}
	wait := func(n uint64) {
		for at := min(warm, n); ; at = min(at+200, n) { // in stretches, each with the patience of until
			if until(t, fmt.Sprint(at, " probes of each"), done(at)); at == n {
				return
			}
		}
	}
	wait(warm)
	before := inUse(t)
	wait(warm + rounds)
	after := inUse(t)
	t.Logf("after %d probes of each: %v; after %d more: %v", warm, before, rounds, after)
	// How many probes are under way differs from moment to moment: each has at
	// most a socket or two, a goroutine, and its server's connection.
	if after.fds > before.fds+3*len(specs) || after.goroutines > before.goroutines+4*len(specs) || after.heap > before.heap+1<<20 {
		t.Errorf("grows: %v, then %v", before, after)
	}
	var failed, ok uint64
	for _, x := range specs {
		st, _ := s.Status(x.Key())
		ok += st.OK
		for _, n := range st.Failed {
			failed += n
		}
	}
	if ok < failed/10 || failed < ok/10 {
		t.Errorf("%d passed and %d failed: that is no flapping", ok, failed)
	}
}
