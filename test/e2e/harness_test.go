package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/lab"
)

func TestMain(m *testing.M) {
	lab.Main()
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

// binary is the program under test. Where a kernel is required it is, too.
func binary(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("LVSHA_BIN")
	if bin == "" {
		const why = "LVSHA_BIN does not name the binary to test"
		if os.Getenv("LVSHA_REQUIRE") != "" {
			t.Fatal(why)
		}
		t.Skip("SKIPPED: " + why)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatal(err)
	}
	return bin
}

func needIPVS(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/net/ip_vs"); err != nil {
		missing(t, "ipvs", "this kernel has no IPVS (modprobe ip_vs)")
	}
}

func needNetns(t *testing.T) {
	t.Helper()
	// By doing, in a thread that nobody uses afterwards.
	done := make(chan error)
	go func() {
		lockThread()
		done <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	if err := <-done; err != nil {
		missing(t, "netns", "cannot make a network namespace: "+err.Error())
	}
}

func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, name, err.Error())
	}
}

// scene is a lab with what a scenario usually needs.
type scene struct {
	*testing.T
	*lab.Lab
	ctx        context.Context
	set        lab.Settings
	lvs1, lvs2 *lab.Director
	sniffer    *lab.Sniffer
}

// open builds the lab and starts the servers. It has two minutes for everything.
func open(t *testing.T, o lab.Options) *scene {
	t.Helper()
	needNetns(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	o.Name = "e2e"
	l, err := lab.Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{T: t, Lab: l, ctx: ctx, set: l.Usual()}
	t.Cleanup(s.close)
	s.must(l.StartServers(ctx))
	s.sniffer, err = l.Sniff()
	s.must(err)
	return s
}

func (s *scene) close() {
	if s.Failed() {
		for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
			if d == nil || d.Process() == nil {
				continue
			}
			lines := strings.Split(d.Process().Log(), "\n")
			s.Logf("--- log of %s\n%s", d.Host().Name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
			table, err := d.Host().Table()
			addrs, aerr := d.Host().Addresses("eth0")
			s.Logf("--- %s: table %v %v, addresses %v %v", d.Host().Name, table, err, addrs, aerr)
			if _, ours := d.Agent.(lab.LVSHA); ours && !d.Process().Ended() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				out, stderr, _, err := d.Host().Run(ctx, os.Getenv("LVSHA_BIN"), "status", "--runtime-dir", d.Dir+"/run")
				m, merr := d.Metrics(ctx)
				cancel()
				s.Logf("--- status of %s %v %v\n%s%s", d.Host().Name, err, merr, out, stderr)
				for _, sample := range m {
					if sample.Value != 0 && strings.Contains(sample.Name, "check") && !strings.Contains(sample.Name, "bucket") {
						s.Log(sample)
					}
				}
			}
		}
	}
	if s.sniffer != nil {
		if err := s.sniffer.Close(); err != nil {
			s.Error(err)
		}
	}
	if err := s.Down(); err != nil {
		s.Error(err)
	}
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// within waits for a condition with a limit of its own.
func (s *scene) within(limit time.Duration, what string, cond func() error) {
	s.Helper()
	s.must(lab.Within(s.ctx, limit, what, cond))
}

// slowly is within for a condition that is dear to look at.
func (s *scene) slowly(limit time.Duration, what string, cond func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	s.must(lab.UntilSlowly(ctx, what, cond))
}

// allowed is a limit as it is to be judged: exactly in virtual time, where the
// program is all that can be late; with much more elsewhere, where the machine is.
func allowed(limit time.Duration) time.Duration {
	if strings.HasSuffix(os.Getenv("LVSHA_GUEST"), "virtual-time") {
		return limit
	}
	return 3*limit + 300*time.Millisecond
}

// vip waits until d holds the VIP, or not.
func (s *scene) vip(d *lab.Director, want bool, limit time.Duration) {
	s.Helper()
	s.within(limit, "the VIP moves", func() error { return d.CheckVIP(want) })
}

// weights waits for the weights of the TCP service on d.
func (s *scene) weights(d *lab.Director, want map[netip.Addr]int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	s.must(d.AwaitWeights(ctx, want))
}

// pair writes the configuration for our program on both directors.
func (s *scene) pair() {
	s.Helper()
	var err error
	s.lvs1, s.lvs2, err = s.Pair(lab.LVSHA{Bin: binary(s.T)}, s.set)
	s.must(err)
}

// up is every server of the settings with weight 1.
func (s *scene) up() map[netip.Addr]int {
	w := map[netip.Addr]int{}
	for _, a := range s.set.Servers {
		w[a] = 1
	}
	return w
}

// with is up with one weight changed.
func (s *scene) with(server, weight int) map[netip.Addr]int {
	w := maps.Clone(s.up())
	w[s.Servers[server-1].Addr] = weight
	return w
}

// start starts both directors and waits until lvs1 serves and lvs2 is warm.
func (s *scene) start() {
	s.Helper()
	s.pair()
	s.must(s.lvs1.Start())
	s.must(s.lvs2.Start())
	s.serving(s.lvs1)
	s.weights(s.lvs2, s.up())
	s.vip(s.lvs2, false, 5*time.Second)
}

// serving waits until d has all servers and the VIP.
func (s *scene) serving(d *lab.Director) {
	s.Helper()
	s.within(15*time.Second, d.Host().Name+" serves", func() error {
		if d.Process().Ended() {
			return errors.New("its process has ended")
		}
		has, err := d.HasVIP()
		if err != nil {
			return err
		}
		if !has {
			return errors.New("no VIP")
		}
		got, err := d.Host().Weights()
		if err != nil {
			return err
		}
		if !maps.Equal(got, s.up()) {
			return fmt.Errorf("weights %v", got)
		}
		return nil
	})
}

// load starts a client and waits for its first answers.
func (s *scene) load(o lab.LoadOptions) *lab.Load {
	s.Helper()
	ld, err := s.StartLoad(o)
	s.must(err)
	// A client left running would outlive the lab.
	s.Cleanup(func() {
		if _, err := ld.Stop(context.Background()); err != nil {
			s.Error(err)
		}
	})
	s.answered(ld, time.Now(), 1)
	return ld
}

// end ends a client that is not looked at any more.
func (s *scene) end(ld *lab.Load) {
	s.Helper()
	_, err := ld.Stop(s.ctx)
	s.must(err)
}

// answered waits until n requests that started after then are answered.
func (s *scene) answered(ld *lab.Load, since time.Time, n int) {
	s.Helper()
	s.slowly(10*time.Second, "requests are answered", func() error {
		if sum := lab.Summarize(ld.Requests(), since, time.Time{}); sum.OK < n {
			return errors.New(sum.String())
		}
		return nil
	})
}

// decided waits until all requests started by now are decided, and sums up
// those since then.
func (s *scene) decided(ld *lab.Load, since time.Time) lab.Summary {
	s.Helper()
	now := time.Now()
	s.slowly(10*time.Second, "requests are decided", func() error {
		reqs := ld.Requests()
		if len(reqs) == 0 || !reqs[len(reqs)-1].Start.After(now.Add(ld.Timeout)) {
			return errors.New("not yet")
		}
		return nil
	})
	return lab.Summarize(ld.Requests(), since, now)
}

var daemonLine = regexp.MustCompile(`(?m)^(master|backup) sync daemon \(mcast=([^,]+), syncid=(\d+)`)

// daemons are the roles of the kernel's sync daemons, sorted, told by ipvsadm.
func (s *scene) daemons(d *lab.Director) ([]string, error) {
	out, stderr, code, err := d.Host().Run(s.ctx, "ipvsadm", "-L", "--daemon")
	if err != nil || code != 0 {
		return nil, fmt.Errorf("ipvsadm: %d %s %w", code, stderr, err)
	}
	var roles []string
	for _, m := range daemonLine.FindAllStringSubmatch(out, -1) {
		if m[2] != "eth0" || m[3] != fmt.Sprint(lab.SyncID) {
			return nil, fmt.Errorf("wrong daemon: %s", m[0])
		}
		roles = append(roles, m[1])
	}
	slices.Sort(roles)
	return roles, nil
}

// awaitDaemons waits until exactly these roles run on d.
func (s *scene) awaitDaemons(d *lab.Director, want ...string) {
	s.Helper()
	s.slowly(8*time.Second, fmt.Sprintf("%s runs the sync daemon as %v", d.Host().Name, want), func() error {
		got, err := s.daemons(d)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it runs as %v", got)
		}
		return err
	})
}

// hold opens the twenty connections and waits until the other director, where
// it runs, has been told of all.
func (s *scene) hold() *lab.Conns {
	s.Helper()
	const n = 20
	c, err := s.Hold(s.ctx, n, 250*time.Millisecond, netip.AddrPort{})
	s.must(err)
	s.Cleanup(c.Stop)
	if s.lvs2.Process() != nil {
		s.slowly(15*time.Second, "lvs2 knows the connections", func() error {
			got, err := c.KnownTo(s.lvs2.Host())
			if err == nil && got < n {
				err = errorf("of %d it knows %d", n, got)
			}
			return err
		})
	}
	return c
}

// verify asserts that all connections answer.
func (s *scene) verify(c *lab.Conns, when string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 15*time.Second)
	defer cancel()
	if r, err := c.Verify(ctx); err != nil {
		s.Errorf("%s: %v", when, err)
	} else {
		s.Logf("%s: %s", when, r)
	}
}

// metric waits until a series of d (the sum over the labels) has a value that good accepts.
func (s *scene) metric(d *lab.Director, limit time.Duration, good func(float64) bool, name string, labels ...string) {
	s.Helper()
	s.slowly(limit, fmt.Sprintf("%s%v on %s is as expected", name, labels, d.Host().Name), func() error {
		m, err := d.Metrics(s.ctx)
		if err != nil {
			return err
		}
		v, ok := m.Get(name, labels...)
		if !ok {
			return errors.New("no such series")
		}
		if !good(v) {
			return fmt.Errorf("it is %v", v)
		}
		return nil
	})
}

// writes are the changes of the table that d's process has sent to the kernel.
// (Those of the sync daemon follow the role.)
func (s *scene) writes(d *lab.Director) (out []lab.Sample) {
	s.Helper()
	m, err := d.Metrics(s.ctx)
	s.must(err)
	for _, sample := range m.Find("lvs_ha_ipvs_operations_total") {
		if sample.Value != 0 && !strings.HasSuffix(sample.Labels["operation"], "_daemon") {
			out = append(out, sample)
		}
	}
	return out
}

func is(want float64) func(float64) bool      { return func(v float64) bool { return v == want } }
func atLeast(want float64) func(float64) bool { return func(v float64) bool { return v >= want } }

// unchanged asserts that nothing was written to a table while fn ran.
func (s *scene) unchanged(d *lab.Director, fn func()) {
	s.Helper()
	w, err := d.Host().WatchTable()
	s.must(err)
	fn()
	changes, err := w.Stop()
	s.must(err)
	if len(changes) > 0 {
		s.Errorf("the table of %s changed: %v", d.Host().Name, changes)
	}
}
