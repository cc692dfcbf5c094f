package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// LoadOptions of a load client.
type LoadOptions struct {
	// Target, by default the VIP's TCP service.
	Target netip.AddrPort
	// Every is the time between two starts, by default 10 ms. A request starts
	// whatever became of the earlier ones.
	Every time.Duration
	// Timeout: an older request has failed; by default 500 ms.
	Timeout time.Duration
	// UDP sends datagrams instead of making connections.
	UDP bool
	// Ports, if not 0, is how many source ports the client uses in turn, so that
	// each is used again and again. By default none is used twice.
	Ports int
}

// Request is one request of a load client.
type Request struct {
	Start, End time.Time
	// Server that answered; empty if it failed (or with UDP).
	Server string
	// Err is empty if it was answered.
	Err string
}

// Load is a running load client.
type Load struct {
	LoadOptions
	lab  *Lab
	stop atomic.Bool
	done chan struct{}
	err  error // valid when done

	mu   sync.Mutex
	reqs []Request // finished ones, in the order of their end
	// skipped starts: this machine could not keep the rate
	skipped int
}

// sources hands out source addresses and ports, each once before any again:
// a port that is used again soon meets the director's entry of the connection
// before and is sent to that one's server. (The kernel's own choice comes
// round within seconds.)
type sources struct {
	mu   sync.Mutex
	next int
}

const (
	firstSourcePort = 2000
	sourcePorts     = 30000 // below the kernel's own range
	// Those that a client uses again and again.
	firstReusedPort, reusedPorts = 1100, firstSourcePort - 1100
	// The last client address belongs to long connections.
	loadAddresses = clientAddresses - 1
)

func (s *sources) take() unix.Sockaddr {
	s.mu.Lock()
	n := s.next % (loadAddresses * sourcePorts)
	s.next++
	s.mu.Unlock()
	// Addresses take turns, so that services which look at them see several.
	return &unix.SockaddrInet4{Addr: [4]byte{10, 0, 0, byte(10 + n%loadAddresses)}, Port: firstSourcePort + n/loadAddresses}
}

// StartLoad starts a load client on the client host.
func (l *Lab) StartLoad(o LoadOptions) (*Load, error) {
	if !o.Target.IsValid() {
		o.Target = netip.AddrPortFrom(VIP, TCPPort)
		if o.UDP {
			o.Target = netip.AddrPortFrom(VIP, UDPPort)
		}
	}
	if o.Every == 0 {
		o.Every = 10 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 500 * time.Millisecond
	}
	if o.Ports > reusedPorts {
		return nil, fmt.Errorf("lab: at most %d source ports can be used in turn", reusedPorts)
	}
	ld := &Load{LoadOptions: o, lab: l, done: make(chan struct{})}
	go func() {
		defer close(ld.done)
		ld.err = l.Client.Do(ld.run)
	}()
	return ld, nil
}

// Stop ends the client, waits for requests under way and returns all.
func (ld *Load) Stop(ctx context.Context) ([]Request, error) {
	ld.stop.Store(true)
	select {
	case <-ld.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return ld.Requests(), ld.err
}

// Requests are those finished so far, in the order of their start.
func (ld *Load) Requests() []Request {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	return inOrder(slices.Clone(ld.reqs))
}

// Forget drops what started before then: for a client that runs for ever.
func (ld *Load) Forget(before time.Time) {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	ld.reqs = slices.DeleteFunc(ld.reqs, func(r Request) bool { return r.Start.Before(before) })
}

// Skipped counts starts that were left out because this machine fell behind.
func (ld *Load) Skipped() int {
	ld.mu.Lock()
	defer ld.mu.Unlock()
	return ld.skipped
}

func (ld *Load) finish(r Request) {
	ld.mu.Lock()
	ld.reqs = append(ld.reqs, r)
	ld.mu.Unlock()
}

// attempt is a request under way.
type attempt struct {
	start  time.Time
	fd     int
	sent   bool
	over   bool
	server string // that has answered, while its end of the connection is awaited
}

// client is the loop's own state. One thread drives all sockets by epoll:
// under an emulated processor a goroutine for each costs more than what is measured.
type client struct {
	ld    *Load
	ep    int
	live  map[int]*attempt
	order []*attempt // by start, for the time limit
	buf   []byte
	seq   uint32
	port  int // the latest of those used in turn
	udp   int // socket of a UDP client
	bySeq map[uint32]*attempt
}

func (ld *Load) run() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	c := &client{ld: ld, ep: ep, live: map[int]*attempt{}, buf: make([]byte, 4096), udp: -1, bySeq: map[uint32]*attempt{}}
	defer c.close()
	if ld.UDP {
		if c.udp, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Connect(c.udp, sockaddr(ld.Target)); err != nil {
			return err
		}
		if err := c.watch(unix.EPOLL_CTL_ADD, c.udp, unix.EPOLLIN); err != nil {
			return err
		}
	}
	return c.loop()
}

func (c *client) close() {
	for fd := range c.live {
		unix.Close(fd)
	}
	if c.udp >= 0 {
		unix.Close(c.udp)
	}
	unix.Close(c.ep)
}

func (c *client) loop() error {
	next := time.Now()
	events := make([]unix.EpollEvent, 128)
	for {
		draining := c.ld.stop.Load()
		c.expire()
		if draining && len(c.order) == 0 {
			return nil
		}
		now := time.Now()
		if behind := now.Sub(next); behind > 20*c.ld.Every+100*time.Millisecond {
			c.ld.mu.Lock()
			c.ld.skipped += int(behind / c.ld.Every)
			c.ld.mu.Unlock()
			next = now
		}
		for !draining && !next.After(now) {
			next = next.Add(c.ld.Every)
			if err := c.begin(); err != nil {
				return err
			}
		}
		wait := 5
		if !draining {
			wait = int(min(20*time.Millisecond, max(0, time.Until(next))) / time.Millisecond)
			if wait == 0 && time.Until(next) > 200*time.Microsecond {
				wait = 1
			}
		}
		n, err := unix.EpollWait(c.ep, events, wait)
		if err != nil && err != unix.EINTR {
			return err
		}
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			if fd == c.udp {
				c.readUDP()
			} else if a := c.live[fd]; a != nil {
				c.step(a)
			}
		}
	}
}

func (c *client) watch(op, fd int, events uint32) error {
	return unix.EpollCtl(c.ep, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func (c *client) begin() error {
	a := &attempt{start: time.Now(), fd: -1}
	c.order = append(c.order, a)
	if c.udp >= 0 {
		c.seq++
		c.bySeq[c.seq] = a
		// An error of an earlier datagram shows here; this one then times out or not.
		_, _ = unix.Write(c.udp, binary.BigEndian.AppendUint32(nil, c.seq))
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	a.fd = fd
	c.live[fd] = a
	for try := 0; ; try++ {
		err := unix.Bind(fd, c.source())
		if err == nil {
			break
		}
		if err != unix.EADDRINUSE || try == 100 {
			return fmt.Errorf("no free source port: %w", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(c.ld.Target)); err != nil && err != unix.EINPROGRESS {
		c.end(a, "", "connect: "+err.Error())
		return nil
	}
	return c.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLOUT|unix.EPOLLIN)
}

func (c *client) source() unix.Sockaddr {
	if c.ld.Ports == 0 {
		return c.ld.lab.sources.take()
	}
	c.port = (c.port + 1) % c.ld.Ports
	return &unix.SockaddrInet4{Addr: [4]byte{10, 0, 0, 10}, Port: firstReusedPort + c.port}
}

func (c *client) end(a *attempt, server, failure string) {
	a.over = true
	if a.fd >= 0 {
		delete(c.live, a.fd)
		unix.Close(a.fd)
	}
	c.ld.finish(Request{Start: a.start, End: time.Now(), Server: server, Err: failure})
}

// expire fails what is too old, oldest first.
func (c *client) expire() {
	for len(c.order) > 0 {
		a := c.order[0]
		if !a.over {
			if time.Since(a.start) < c.ld.Timeout {
				return
			}
			why := "timeout connecting"
			if a.sent || c.udp >= 0 {
				why = "timeout answering"
			}
			c.end(a, "", why)
		}
		c.order = c.order[1:]
	}
	clear(c.bySeq)
}

var getRequest = []byte("GET / HTTP/1.0\r\n\r\n")

func (c *client) step(a *attempt) {
	if !a.sent {
		if e, _ := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR); e != 0 {
			c.end(a, "", "connect: "+unix.Errno(e).Error())
			return
		}
		if _, err := unix.Write(a.fd, getRequest); err != nil {
			c.end(a, "", "write: "+err.Error())
			return
		}
		a.sent = true
		if err := c.watch(unix.EPOLL_CTL_MOD, a.fd, unix.EPOLLIN); err != nil {
			c.end(a, "", "epoll: "+err.Error())
		}
		return
	}
	n, err := unix.Read(a.fd, c.buf)
	switch {
	case err == unix.EAGAIN:
	case a.server != "":
		c.end(a, a.server, "")
	case err != nil:
		c.end(a, "", "read: "+err.Error())
	case n == 0:
		c.end(a, "", "closed without an answer")
	case bytes.HasPrefix(c.buf[:n], []byte("HTTP/1.1 200")):
		s := strings.TrimSpace(string(c.buf[:n]))
		a.server = s[strings.LastIndexByte(s, '\n')+1:]
		// Who closes first keeps the port for a minute: let it be the server.
		if c.ld.Ports == 0 {
			c.end(a, a.server, "")
		}
	default:
		c.end(a, "", "answer: "+strings.SplitN(string(c.buf[:n]), "\r\n", 2)[0])
	}
}

func (c *client) readUDP() {
	for {
		n, err := unix.Read(c.udp, c.buf)
		if err == unix.EAGAIN || err == nil && n < 4 {
			return
		}
		if err != nil {
			continue // an ICMP error, told once
		}
		if a := c.bySeq[binary.BigEndian.Uint32(c.buf)]; a != nil && !a.over {
			c.end(a, "", "")
		}
	}
}

// inOrder sorts by start, in place. Requests that end as they began are so already.
func inOrder(reqs []Request) []Request {
	byStart := func(a, b Request) int { return a.Start.Compare(b.Start) }
	if !slices.IsSortedFunc(reqs, byStart) {
		slices.SortStableFunc(reqs, byStart)
	}
	return reqs
}

// Summary of requests.
type Summary struct {
	OK, Failed int
	// Servers that answered, and Errors, with their numbers.
	Servers, Errors map[string]int
	// WorstGap is the longest time between the starts of two answered
	// requests with a failed one in between; zero without failures.
	WorstGap time.Duration
	// LastFailure is the start of the last failed request.
	LastFailure time.Time
	// Slowest answer.
	Slowest time.Duration
}

// Summarize sums up the requests that started in [from, to); a zero time is no
// limit. It may sort reqs.
func Summarize(reqs []Request, from, to time.Time) Summary {
	s := Summary{Servers: map[string]int{}, Errors: map[string]int{}}
	reqs = inOrder(reqs)
	var good time.Time
	failed := false
	gap := func(to time.Time) {
		if failed && !good.IsZero() {
			s.WorstGap = max(s.WorstGap, to.Sub(good))
		}
	}
	var last time.Time
	for _, r := range reqs {
		if r.Start.Before(from) || !to.IsZero() && !r.Start.Before(to) {
			continue
		}
		last = r.End
		if good.IsZero() {
			good = r.Start
		}
		if r.Err != "" {
			s.Failed++
			s.Errors[r.Err]++
			s.LastFailure, failed = r.Start, true
			continue
		}
		s.OK++
		if r.Server != "" {
			s.Servers[r.Server]++
		}
		s.Slowest = max(s.Slowest, r.End.Sub(r.Start))
		gap(r.Start)
		good, failed = r.Start, false
	}
	gap(last)
	return s
}

// String is short, for people: "web1 120, web2 118; 3 failed (3 connect: …)".
func (s Summary) String() string {
	out := counts(s.Servers)
	if out == "" {
		out = fmt.Sprintf("%d answered", s.OK)
	}
	if s.Failed > 0 {
		out += fmt.Sprintf("; %d failed (%s), gap %s", s.Failed, counts(s.Errors), s.WorstGap.Round(time.Millisecond))
	}
	return out
}

func counts(m map[string]int) string {
	type kv struct {
		k string
		n int
	}
	var l []kv
	for k, n := range m {
		l = append(l, kv{k, n})
	}
	slices.SortFunc(l, func(a, b kv) int { return cmp.Compare(a.k, b.k) })
	var out []string
	for _, e := range l {
		out = append(out, fmt.Sprintf("%s %d", e.k, e.n))
	}
	return strings.Join(out, ", ")
}
