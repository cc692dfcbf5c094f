package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main()
	goleak.VerifyTestMain(m)
}

// missing skips, or fails if LVSHA_REQUIRE says that the thing must be there.
func missing(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("LVSHA_REQUIRE"), ","), what) {
		t.Fatalf("LVSHA_REQUIRE names %s: %s", what, why)
	}
	t.Skipf("SKIPPED, needs %s: %s", what, why)
}

func needNetns(t *testing.T) {
	t.Helper()
	err := onThread(func() error {
		runtime.LockOSThread() // never unlocked twice: the thread goes
		return unix.Unshare(unix.CLONE_NEWNET)
	})
	if err != nil {
		missing(t, "netns", err.Error())
	}
}

func build(t *testing.T, o Options) (*Lab, context.Context) {
	t.Helper()
	needNetns(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	o.Name = "labtest"
	l, err := Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range l.procs {
				lines := strings.Split(p.Log(), "\n")
				t.Logf("--- %s (%d)\n%s", p.Name, p.PID, strings.Join(lines[max(0, len(lines)-30):], "\n"))
			}
		}
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir("/run/netns"); slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), l.prefix()) }) {
			t.Error("namespaces are left behind")
		}
	})
	return l, ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestServersAndLoad asks the servers directly, without a director.
func TestServersAndLoad(t *testing.T) {
	l, ctx := build(t, Options{Mode: DR, Servers: 2})
	must(t, l.StartServers(ctx))
	web1 := netip.AddrPortFrom(l.Servers[0].Addr, TCPPort)
	ld, err := l.StartLoad(LoadOptions{Target: web1, Every: 5 * time.Millisecond})
	must(t, err)
	conns, err := l.Hold(ctx, 3, 20*time.Millisecond, web1)
	must(t, err)
	defer conns.Stop()
	answered := func(since time.Time, ok bool) func() error {
		return func() error {
			s := Summarize(ld.Requests(), since, time.Time{})
			if ok && s.OK == 0 || !ok && s.Failed == 0 {
				return fmt.Errorf("%s", s)
			}
			return nil
		}
	}
	must(t, Until(ctx, "requests are answered", answered(time.Now(), true)))
	if _, err := conns.Verify(ctx); err != nil {
		t.Error(err)
	}

	killed := time.Now()
	must(t, l.Servers[0].Kill(ctx))
	must(t, Until(ctx, "requests are refused", answered(killed, false)))
	must(t, Until(ctx, "long connections die", func() error {
		if r := conns.Report(time.Time{}); r.Alive > 0 {
			return errors.New(r.String())
		}
		return nil
	}))
	must(t, l.Servers[0].Start(ctx))
	back := time.Now()
	must(t, Until(ctx, "requests are answered again", answered(back, true)))
	must(t, l.Servers[0].Break())
	must(t, Until(ctx, "503 is seen", func() error {
		if s := Summarize(ld.Requests(), back, time.Time{}); s.Errors["answer: HTTP/1.1 503 Service Unavailable"] == 0 {
			return fmt.Errorf("%s", s)
		}
		return nil
	}))
	must(t, l.Servers[0].Repair())

	all, err := ld.Stop(ctx)
	must(t, err)
	s := Summarize(all, time.Time{}, back)
	if s.Errors["connect: connection refused"] == 0 || s.WorstGap == 0 || s.Servers["web1"] == 0 || len(s.Servers) != 1 {
		t.Errorf("the crash looked like this: %s", s)
	}

	udp, err := l.StartLoad(LoadOptions{Target: netip.AddrPortFrom(l.Servers[1].Addr, UDPPort), UDP: true, Every: 5 * time.Millisecond})
	must(t, err)
	must(t, Until(ctx, "datagrams are answered", func() error {
		if s := Summarize(udp.Requests(), time.Time{}, time.Time{}); s.OK < 10 {
			return fmt.Errorf("%s", s)
		}
		return nil
	}))
	all, err = udp.Stop(ctx)
	must(t, err)
	if s := Summarize(all, time.Time{}, time.Time{}); s.Failed > 0 {
		t.Errorf("UDP: %s", s)
	}
}

func TestCables(t *testing.T) {
	l, ctx := build(t, Options{Mode: DR, Servers: 1})
	must(t, l.StartServers(ctx))
	h := l.Servers[0].Host
	target := netip.AddrPortFrom(l.Servers[0].Addr, TCPPort).String()
	reach := func() error {
		c, err := l.Client.DialContext(ctx, "tcp", target)
		if err == nil {
			c.Close()
		}
		return err
	}
	carrier := func() bool {
		link, err := h.nl.LinkByName("eth0")
		must(t, err)
		return link.Attrs().RawFlags&unix.IFF_RUNNING != 0
	}
	must(t, reach())
	for _, c := range []struct {
		name       string
		off, on    func() error
		hasCarrier bool
	}{{"cut", h.Cut, h.Mend, false}, {"mute", h.Mute, h.Unmute, true}} {
		must(t, c.off())
		must(t, Until(ctx, c.name+" shows in the carrier", func() error {
			if carrier() != c.hasCarrier {
				return errors.New("not yet")
			}
			return nil
		}))
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if conn, err := l.Client.DialContext(short, "tcp", target); err == nil {
			conn.Close()
			t.Errorf("%s: still reachable", c.name)
		}
		cancel()
		must(t, c.on())
		must(t, Until(ctx, "reachable after "+c.name, reach))
	}
}

// TestPart: directors that are parted stay so however their cables change
// meanwhile, and hear one another again when they are joined.
func TestPart(t *testing.T) {
	l, ctx := build(t, Options{Mode: DR})
	lvs1 := l.Directors[0]
	// Nobody listens: who reaches the other is refused.
	hear := func() error {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := lvs1.DialContext(short, "tcp", netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), 1).String())
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil
		}
		return fmt.Errorf("not refused: %w", err)
	}
	must(t, Until(ctx, "they hear one another", hear))
	must(t, l.Part())
	must(t, lvs1.Mute())
	must(t, lvs1.Unmute())
	if hear() == nil {
		t.Error("they hear one another while parted")
	}
	must(t, lvs1.Mute())
	must(t, l.Join())
	must(t, lvs1.Unmute())
	must(t, Until(ctx, "they hear one another again", hear))
}

// TestUpSweeps: what a lab that was not taken down left behind is no obstacle.
func TestUpSweeps(t *testing.T) {
	needNetns(t)
	ctx := t.Context()
	l, err := Up(ctx, Options{Name: "labsweep", Mode: DR, Servers: 1})
	must(t, err)
	if _, err := Up(ctx, Options{Name: "labsweep", Mode: DR}); err == nil || !strings.Contains(err.Error(), "another lab") {
		t.Errorf("a second lab of the same name: %v", err)
	}
	// As if this process had died: the lock goes, the namespaces stay.
	must(t, l.lock.Close())
	again, err := Up(ctx, Options{Name: "labsweep", Mode: DR, Servers: 1})
	must(t, err)
	l.hosts = nil
	l.spawn.stop()
	must(t, os.RemoveAll(l.Dir))
	must(t, again.Down())
}

// TestProcessTree: a killed tree is gone as a whole, and the exit code is passed on.
func TestProcessTree(t *testing.T) {
	l, ctx := build(t, Options{Mode: DR})
	p, err := l.Client.Start("tree", nil, []string{"sh", "-c", "sleep 100 & sleep 100"})
	must(t, err)
	must(t, Until(ctx, "it has two children", func() error {
		if n := len(p.Children()); n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	}))
	all := p.Tree()
	must(t, p.KillAll(ctx))
	for _, pid := range all {
		if alive(pid) {
			t.Errorf("%d is alive", pid)
		}
	}
	_, errs, code, err := l.Client.Run(ctx, "sh", "-c", "echo bad >&2; exit 3")
	if errs != "bad\n" || code != 3 || err != nil {
		t.Errorf("Run: %q %d %v", errs, code, err)
	}
}

// needKeepalived skips without a kernel with IPVS or without keepalived.
func needKeepalived(t *testing.T, ipvs bool) {
	t.Helper()
	if _, err := exec.LookPath("keepalived"); err != nil {
		missing(t, "keepalived", err.Error())
	}
	if ipvs {
		if _, err := os.Stat("/proc/net/ip_vs"); err != nil {
			missing(t, "ipvs", err.Error())
		}
	}
}

// TestElection stands on keepalived alone: it shows that the lab itself carries
// an election, and what the sniffer sees of it.
func TestElection(t *testing.T) {
	needKeepalived(t, false)
	l, ctx := build(t, Options{Mode: DR})
	lvs1, lvs2, err := l.Pair(Keepalived{}, Settings{})
	must(t, err)
	sn, err := l.Sniff()
	must(t, err)
	defer sn.Close()
	must(t, lvs1.Start())
	must(t, lvs2.Start())
	must(t, lvs1.AwaitVIP(ctx, true))
	ad, err := sn.Await(ctx, "lvs1 advertises", time.Time{}, func(a Advert) bool { return a.From == lvs1.Addr() })
	must(t, err)
	if ad.Version != 3 || ad.VRID != VRID || ad.Priority != 200 || ad.Interval != 100*time.Millisecond || !slices.Equal(ad.VIPs, []netip.Addr{VIP}) {
		t.Errorf("advertisement %+v", ad)
	}
	killed := time.Now()
	must(t, lvs1.Kill(ctx))
	must(t, lvs2.AwaitVIP(ctx, true))
	if took := time.Since(killed); took < 150*time.Millisecond || took > 3*time.Second {
		t.Errorf("takeover after %s", took)
	}
	must(t, Until(ctx, "the takeover is announced", func() error {
		if len(sn.Announcements(killed)) == 0 {
			return errors.New("no gratuitous ARP")
		}
		return nil
	}))
	must(t, lvs2.proc.Signal(syscall.SIGTERM))
	must(t, lvs2.AwaitVIP(ctx, false))
}

// TestForwarding… sends traffic through keepalived's table in all three modes.

func TestForwardingDR(t *testing.T)  { forwarding(t, DR) }
func TestForwardingNAT(t *testing.T) { forwarding(t, NAT) }
func TestForwardingTUN(t *testing.T) { forwarding(t, TUN) }

func forwarding(t *testing.T, mode Mode) {
	needKeepalived(t, true)
	l, ctx := build(t, Options{Mode: mode, Servers: 3})
	must(t, l.StartServers(ctx))
	s := l.Usual()
	lvs1, lvs2, err := l.Pair(Keepalived{}, s)
	must(t, err)
	must(t, lvs1.Start())
	must(t, lvs2.Start())
	must(t, lvs1.AwaitVIP(ctx, true))
	up := map[netip.Addr]int{}
	for _, a := range s.Servers {
		up[a] = 1
	}
	must(t, lvs1.AwaitWeights(ctx, up))
	for _, udp := range []bool{false, true} {
		ld, err := l.StartLoad(LoadOptions{UDP: udp, Every: 5 * time.Millisecond})
		must(t, err)
		must(t, Until(ctx, "100 requests are answered", func() error {
			if s := Summarize(ld.Requests(), time.Time{}, time.Time{}); s.OK < 100 {
				return errors.New(s.String())
			}
			return nil
		}))
		reqs, err := ld.Stop(ctx)
		must(t, err)
		got := Summarize(reqs, time.Time{}, time.Time{})
		if got.Failed > 0 || !udp && len(got.Servers) != 3 {
			t.Errorf("udp=%v: %s", udp, got)
		}
	}
	down := maps.Clone(up)
	down[s.Servers[1]] = 0
	w, err := lvs1.Host().WatchTable()
	must(t, err)
	must(t, l.Servers[1].Kill(ctx))
	must(t, lvs1.AwaitWeights(ctx, down))
	must(t, l.Servers[1].Start(ctx))
	must(t, lvs1.AwaitWeights(ctx, up))
	changes, err := w.Stop()
	if len(changes) != 2 || err != nil {
		t.Errorf("changes %v, error %v", changes, err)
	}
	if c, err := lvs1.Host().Connections(); err != nil || len(c) == 0 {
		t.Errorf("connections %v, error %v", c, err)
	}
}
