package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvs-ha/health"
)

// space is a network namespace that lasts as long as the test.
type space struct {
	t  *testing.T
	fd int
	*netlink.Handle
}

// newSpace makes one, or skips the test.
func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{t: t}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread goes
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			if s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				s.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
			}
		}
		made <- err
	}()
	if err := <-made; err != nil {
		if strings.Contains(os.Getenv("LVSHA_REQUIRE"), "netns") {
			t.Fatal("cannot make a network namespace: ", err)
		}
		t.Skip("cannot make a network namespace: ", err)
	}
	t.Cleanup(func() { s.Close(); unix.Close(s.fd) })
	return s
}

// run has f done by a thread in the namespace.
func (s *space) run(f func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
			s.t.Error(err)
			return
		}
		f()
	}()
	return func() { <-done }
}

// What happens to the path to a server has it probed at once. Probes are a
// minute apart, so that nothing else can be the cause.
func TestPathHintsOnKernel(t *testing.T) {
	const patience = 20 * time.Second // the next probe in its turn is 30 s away at least
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	director, server := newSpace(t), newSpace(t)
	must(director.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1", PeerNamespace: netlink.NsFd(server.fd)}))
	setUp := func(s *space, name, addr string) netlink.Link {
		l, err := s.LinkByName(name)
		must(err)
		a, err := netlink.ParseAddr(addr)
		must(err)
		must(s.AddrAdd(l, a))
		must(s.LinkSetUp(l))
		return l
	}
	near, far := setUp(director, "v0", "10.9.0.1/24"), setUp(server, "v1", "10.9.0.2/24")
	to := netip.MustParseAddrPort("10.9.0.2:80")
	var mu sync.Mutex
	var conns []net.Conn
	var ln net.Listener
	var err error
	server.run(func() { ln, err = net.Listen("tcp4", to.String()) })()
	must(err)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	}()
	defer func() {
		ln.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	}()

	spec := health.Spec{Target: to, Method: &health.Method{Type: health.TCP, Interval: time.Minute, Timeout: time.Second, Rise: 1, Fall: 2, Hold: true}}
	checks := health.NewScheduler(health.Options{})
	checks.Apply([]health.Spec{spec})
	hints := &pathHints{hint: checks.Hint, log: slog.New(slog.DiscardHandler)}
	hints.holds.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	probing := director.run(func() {
		if err := checks.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	watching := director.run(func() { _ = hints.run(ctx) })
	defer func() { cancel(); probing(); watching() }()
	until := func(what string, again func(), cond func(health.Status) bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			st, _ := checks.Status(spec.Key())
			if cond(st) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not %s: %+v", what, st)
			}
			again()
			<-time.After(20 * time.Millisecond)
		}
	}
	until("up and held", func() {}, func(st health.Status) bool { return st.State == health.Up && st.Hold.Held })
	st, _ := checks.Status(spec.Key())
	if st.OK != 1 {
		t.Fatal("probed without a reason:", st.OK)
	}
	until("probed when its neighbour entry fails", func() { // again and again, for the watch may not have begun
		must(director.NeighSet(&netlink.Neigh{LinkIndex: near.Attrs().Index, IP: net.IPv4(10, 9, 0, 2), State: netlink.NUD_FAILED}))
	}, func(st health.Status) bool { return st.OK > 1 })
	began := time.Now()
	must(server.LinkSetDown(far))
	until("down when its link goes", func() {}, func(st health.Status) bool { return st.State == health.Down })
	t.Log("down after", time.Since(began), "two probes of 1 s included")
}
