package health

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// probe runs one check until its first result and returns it.
func probe(t *testing.T, s Spec) (*Failure, time.Duration) {
	t.Helper()
	first := make(chan Status, 1)
	var sch *Scheduler
	var once sync.Once
	sch = NewScheduler(Options{OnChange: func(c Change) {
		once.Do(func() { st, _ := sch.Status(c.Key); st.LastFailure, st.LastTook = c.Failure, c.Took; first <- st })
	}})
	s = with(s, func(s *Spec) {
		s.Interval = max(s.Interval, 20*time.Millisecond)
		if s.Timeout == 0 {
			s.Timeout = 5 * time.Second
		}
	})
	sch.Apply([]Spec{s})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sch.Run(ctx) }()
	st, found := Status{}, false
	for end := time.Now().Add(2 * patience); !found; {
		select {
		case st = <-first:
			found = true
		case <-time.After(time.Millisecond):
			// Trouble of this machine gives no verdict; its being late is none of the test's.
			if st, _ = sch.Status(s.Key()); st.Failed[ReasonInternal] > 0 && st.LastFailure != failLate || time.Now().After(end) {
				found = true
			}
		}
	}
	if st.LastAt.IsZero() {
		t.Error("no result")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return st.LastFailure, st.LastTook
}

// server listens on loopback and hands each connection to f, which need not close it.
func server(t *testing.T, f func(c *net.TCPConn)) netip.AddrPort {
	return serverAt(t, netip.MustParseAddrPort("127.0.0.1:0"), f)
}

func serverAt(t *testing.T, at netip.AddrPort, f func(c *net.TCPConn)) netip.AddrPort {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { f(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// closedPort is a port of loopback where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	// Bound and not listening, so that nobody else gets it meanwhile.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
}

// fullPort is a listener whose queue is full: SYNs get no answer.
func fullPort(t *testing.T) netip.AddrPort {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, _ := syscall.Getsockname(fd)
	a := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 4 {
		c, err := net.DialTimeout("tcp", a.String(), 50*time.Millisecond)
		if err != nil {
			return a
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue takes any number")
	return a
}

// readRequest reads up to the empty line.
func readRequest(c net.Conn) string {
	r := bufio.NewReader(c)
	var b strings.Builder
	for {
		l, err := r.ReadString('\n')
		b.WriteString(l)
		if err != nil || l == "\r\n" {
			return b.String()
		}
	}
}

func reply(s string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { readRequest(c); io.WriteString(c, s); c.Close() }
}

func reset(c *net.TCPConn) { c.SetLinger(0); c.Close() }

var half, full, fullReset = TCPOptions{}, TCPOptions{Handshake: "full"}, TCPOptions{Handshake: "full", Close: "reset"}

func TestTCPProbe(t *testing.T) {
	for name, o := range map[string]TCPOptions{"half-open": half, "full": full, "full reset": fullReset} {
		t.Run(name, func(t *testing.T) {
			check := func(name string, to netip.AddrPort, timeout time.Duration, want Reason) {
				t.Helper()
				f, took := probe(t, Spec{Target: to, Method: &Method{Type: TCP, Timeout: timeout, TCP: o}})
				expectReason(t, name, f, want)
				if want == ReasonTimeout && (took < timeout || took > timeout+slack()) {
					t.Errorf("%s: took %v, timeout %v", name, took, timeout)
				}
			}
			check("listens", server(t, func(*net.TCPConn) {}), 0, "")
			check("closes at once", server(t, func(c *net.TCPConn) { c.Close() }), 0, "")
			check("refuses", closedPort(t), 0, ReasonRefused)
			check("answers no SYN", fullPort(t), 100*time.Millisecond, ReasonTimeout)
			check("answers no SYN, 1 ms", fullPort(t), time.Millisecond, ReasonTimeout)
			check("broadcast address", netip.MustParseAddrPort("255.255.255.255:80"), 0, ReasonInternal)
		})
	}
}

func expectReason(t *testing.T, name string, f *Failure, want Reason) {
	t.Helper()
	var got Reason
	if f != nil {
		got = f.Reason
	}
	if got != want {
		t.Errorf("%s: %v, want reason %q", name, f, want)
	}
}

func TestHTTPProbe(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	for _, tc := range []struct {
		name   string
		serve  func(*net.TCPConn)
		o      HTTPOptions
		limit  time.Duration
		want   Reason
		detail string
	}{
		{name: "answers", serve: reply(ok)},
		{name: "answers and keeps the connection", serve: func(c *net.TCPConn) { readRequest(c); io.WriteString(c, ok) }},
		{name: "HTTP/1.0 without a length", serve: reply("HTTP/1.0 200 OK\r\n\r\nhello"), o: HTTPOptions{ExpectBody: "hello"}},
		{name: "redirect is fine and not followed", serve: reply("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n")},
		{name: "wrong status", serve: reply("HTTP/1.1 503 Busy\r\n\r\n"), want: ReasonStatus, detail: "status 503"},
		{name: "status outside the ranges", serve: reply(ok), o: HTTPOptions{ExpectStatus: []StatusRange{{204, 204}, {300, 399}}}, want: ReasonStatus},
		{name: "text there", serve: reply(ok), o: HTTPOptions{ExpectBody: "ell"}},
		{name: "text missing", serve: reply(ok), o: HTTPOptions{ExpectBody: "bye"}, want: ReasonBody, detail: "text not found in 5 octets"},
		{name: "text beyond the limit", serve: reply(ok), o: HTTPOptions{ExpectBody: "llo", BodyLimit: 4}, want: ReasonBody, detail: "text not found in 4 octets"},
		{name: "trickles in time", serve: func(c *net.TCPConn) {
			readRequest(c)
			for i := range ok {
				io.WriteString(c, ok[i:i+1])
			}
		}, o: HTTPOptions{ExpectBody: "hello"}},
		{name: "trickles for ever", serve: func(c *net.TCPConn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX: abcdefghijklmnopqrstuvwxyz") {
				c.Write([]byte{b})
				<-time.After(10 * time.Millisecond)
			}
			io.Copy(io.Discard, c)
		}, limit: 80 * time.Millisecond, want: ReasonTimeout},
		{name: "accepts and says nothing", serve: func(c *net.TCPConn) {}, limit: 80 * time.Millisecond, want: ReasonTimeout},
		{name: "closes without a word", serve: func(c *net.TCPConn) { readRequest(c); c.Close() }, want: ReasonProtocol, detail: "closed without an answer"},
		{name: "closes within the header", serve: reply("HTTP/1.1 200 OK\r\nServ"), want: ReasonProtocol, detail: "closed within the header"},
		{name: "lies about its length", serve: reply("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello"), o: HTTPOptions{ExpectBody: "x"}, want: ReasonProtocol, detail: "closed within the body"},
		{name: "resets", serve: func(c *net.TCPConn) { readRequest(c); reset(c) }, want: ReasonReset},
		{name: "speaks SSH", serve: func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") }, want: ReasonProtocol, detail: `not HTTP: "SSH-2.0`},
		{name: "speaks endlessly without a line", serve: func(c *net.TCPConn) {
			b := make([]byte, 1<<16)
			for {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}, want: ReasonProtocol},
		{name: "huge header", serve: func(c *net.TCPConn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X-Fill: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, want: ReasonProtocol, detail: "header of more than 64 KiB"},
		{name: "huge body", serve: func(c *net.TCPConn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := io.WriteString(c, strings.Repeat("a", 1<<16)); err != nil {
					return
				}
			}
		}, o: HTTPOptions{ExpectBody: "b"}, want: ReasonBody, detail: "text not found in 65536 octets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _ := probe(t, Spec{Target: server(t, tc.serve), Method: &Method{Type: HTTP, Timeout: tc.limit, HTTP: tc.o}})
			expectReason(t, tc.name, f, tc.want)
			if f != nil && !strings.HasPrefix(f.Detail, tc.detail) {
				t.Errorf("detail %q, want %q", f.Detail, tc.detail)
			}
		})
	}
	f, _ := probe(t, Spec{Target: closedPort(t), Method: &Method{Type: HTTP}})
	expectReason(t, "refuses", f, ReasonRefused)
	f, _ = probe(t, Spec{Target: fullPort(t), Method: &Method{Type: HTTP, Timeout: 50 * time.Millisecond}})
	expectReason(t, "answers no SYN", f, ReasonTimeout)
}

func TestHTTPRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		o    HTTPOptions
		want string
	}{
		"plain": {HTTPOptions{}, "GET / HTTP/1.1\r\nHost: TARGET\r\nUser-Agent: lvs-ha\r\nAccept: */*\r\nConnection: close\r\n\r\n"},
		"all": {HTTPOptions{Method: "HEAD", Path: "/a?b", Host: "x.test", Headers: []string{"X: y", "user-agent: me"}},
			"HEAD /a?b HTTP/1.1\r\nHost: x.test\r\nAccept: */*\r\nConnection: close\r\nX: y\r\nuser-agent: me\r\n\r\n"},
	} {
		// A server for each: a probe may run more than once, and its last request come late.
		got := make(chan string, 100)
		to := server(t, func(c *net.TCPConn) {
			r := readRequest(c)
			select {
			case got <- r:
			default:
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			c.Close()
		})
		f, _ := probe(t, Spec{Target: to, Method: &Method{Type: HTTP, HTTP: tc.o}})
		expectReason(t, name, f, "")
		if r, want := <-got, strings.ReplaceAll(tc.want, "TARGET", to.String()); r != want {
			t.Errorf("%s: %q, want %q", name, r, want)
		}
	}
	if strings.Contains(string(HTTPOptions{}.request("10.0.0.1:80", ":80")), "Host: 10.0.0.1:80") {
		t.Error("the default port is in the Host header")
	}
}

// udpServer answers each datagram with what f says; nil is silence.
func udpServer(t *testing.T, f func([]byte) []byte) netip.AddrPort {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if a := f(buf[:n]); err == nil && a != nil {
				c.WriteToUDPAddrPort(a, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func closedUDP(t *testing.T) netip.AddrPort {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestUDPProbe(t *testing.T) {
	echo := func(b []byte) []byte { return b }
	silent := func([]byte) []byte { return nil }
	for _, tc := range []struct {
		name  string
		to    netip.AddrPort
		o     UDPOptions
		limit time.Duration
		want  Reason
	}{
		{name: "echoes", to: udpServer(t, echo)},
		{name: "echoes what is sent", to: udpServer(t, echo), o: UDPOptions{Send: []byte("ping"), Expect: []byte("pi")}},
		{name: "mask", to: udpServer(t, echo), o: UDPOptions{Send: []byte{0x12, 0x34}, Expect: []byte{0x1f, 0x34}, Mask: []byte{0xf0}}},
		{name: "empty reply", to: udpServer(t, func([]byte) []byte { return []byte{} })},
		{name: "other reply", to: udpServer(t, echo), o: UDPOptions{Send: []byte("ping"), Expect: []byte("pong")}, want: ReasonBody},
		{name: "short reply", to: udpServer(t, echo), o: UDPOptions{Send: []byte("p"), Expect: []byte("pong")}, want: ReasonBody},
		{name: "silent", to: udpServer(t, silent), limit: 50 * time.Millisecond, want: ReasonTimeout},
		{name: "silent, 1 ms", to: udpServer(t, silent), limit: time.Millisecond, want: ReasonTimeout},
		{name: "silence accepted", to: udpServer(t, silent), o: UDPOptions{NoReply: true}, limit: 50 * time.Millisecond},
		{name: "reply though none is needed", to: udpServer(t, echo), o: UDPOptions{NoReply: true}},
		{name: "refuses", to: closedUDP(t), want: ReasonRefused},
		{name: "refuses though silence is accepted", to: closedUDP(t), o: UDPOptions{NoReply: true}, want: ReasonRefused},
	} {
		f, took := probe(t, Spec{Target: tc.to, Method: &Method{Type: UDP, Timeout: tc.limit, UDP: tc.o}})
		expectReason(t, tc.name, f, tc.want)
		if tc.want == ReasonTimeout && took > tc.limit+slack() {
			t.Errorf("%s: took %v of %v", tc.name, took, tc.limit)
		}
	}
}

func TestSourceAddress(t *testing.T) {
	from := make(chan netip.Addr, 100)
	to := server(t, func(c *net.TCPConn) { from <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); c.Close() })
	s := Spec{Target: to, Method: &Method{Type: TCP, Source: netip.MustParseAddr("127.0.0.9"), TCP: full}}
	f, _ := probe(t, s)
	expectReason(t, "bound", f, "")
	if got := <-from; got != s.Source {
		t.Errorf("came from %v", got)
	}
	f, _ = probe(t, Spec{Target: udpServer(t, func(b []byte) []byte { return b }), Method: &Method{Type: UDP, Source: s.Source}})
	expectReason(t, "bound datagram", f, "")
	for _, typ := range []Type{TCP, HTTP, UDP} {
		s := Spec{Target: to, Method: &Method{Type: typ, Source: netip.MustParseAddr("192.0.2.99"), Timeout: 100 * time.Millisecond}}
		f, _ := probe(t, s)
		expectReason(t, string(typ)+" from an address that is not ours", f, ReasonInternal)
	}
}
