package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"lvs-ha/internal/lab"
)

const (
	servers     = 3
	advert      = 100 * time.Millisecond
	checkEvery  = 200 * time.Millisecond
	fall, rise  = 2, 2
	requestRate = 10 * time.Millisecond
	patience    = 500 * time.Millisecond // then a request has failed
	connections = 20
	lineEvery   = 100 * time.Millisecond
	// vipLifetime is how long the kernel keeps an address that nobody renews:
	// at least 5 s, and 2 × the master-down interval if that is longer.
	vipLifetime = 5 * time.Second
)

// story is the lab with what has been measured in it.
type story struct {
	*screen
	options
	lab        *lab.Lab
	lvs1, lvs2 *lab.Director
	sniffer    *lab.Sniffer
	load       *lab.Load
	conns      *lab.Conns
	weights    map[netip.Addr]int // when all is well
	figures    []figure
	series     []string
	broken     int
}

// figure is one line of the last screen.
type figure struct{ what, value, promise string }

// measured notes a figure with its promise and says whether it was kept.
func (s *story) measured(ok bool, what, value, promise string) {
	s.verdict(ok, what+": "+s.paint(bold, value)+s.paint(dim, "  (promised: "+promise+")"))
	if !ok {
		s.broken++
		value += "  BROKEN"
	}
	s.figures = append(s.figures, figure{what, value, promise})
}

func (s *story) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		s.build, s.start, s.traffic, s.serverDies, s.serverReturns, s.masterDies, s.masterReturns, s.lastScreen,
	} {
		// Whatever hangs ends.
		actx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := act(actx)
		cancel()
		if err != nil {
			return err
		}
	}
	if s.live {
		return s.watch(ctx)
	}
	return nil
}

const picture = `     client
        │
  ══════╪═══════════╤═══════════╤════════════╤══════ one segment, VIP 10.0.0.100
        │           │           │            │
      lvs1        lvs2        web1   web2   web3
    director    director      three HTTP servers`

func (s *story) build(ctx context.Context) (err error) {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	s.printf("%s", s.paint(bold, "lvs-ha: a pair of directors on a real kernel"))
	where := "Linux " + strings.TrimSpace(string(release))
	if g := os.Getenv("LVSHA_GUEST"); g != "" {
		where += ", in a guest (" + strings.ReplaceAll(strings.Replace(g, "-", ", ", 1), "-", " ") + ")"
	}
	s.printf("%s. Every figure below is measured now, by a client that makes %d new connections a second.", where, time.Second/requestRate)

	s.act("A network of namespaces is built")
	begin := time.Now()
	if s.lab, err = lab.Up(ctx, lab.Options{Name: "demo", Mode: s.mode, Servers: servers}); err != nil {
		return err
	}
	if err := s.lab.StartServers(ctx); err != nil {
		return err
	}
	if s.sniffer, err = s.lab.Sniff(); err != nil {
		return err
	}
	s.block(picture)
	s.tell("Done in %s. Forwarding: %s.", ms(time.Since(begin)), map[lab.Mode]string{
		lab.DR:  "direct routing (the servers answer the client themselves)",
		lab.NAT: "NAT (the answers come back through the director)",
		lab.TUN: "IP-IP tunnels (the servers answer the client themselves)",
	}[s.mode])
	return nil
}

func (s *story) start(ctx context.Context) (err error) {
	s.act("Both directors start, with one and the same configuration file")
	set := s.lab.Usual()
	set.Advert, set.Check, set.CheckInterval, set.Fall, set.Rise = advert, "http", checkEvery, fall, rise
	if s.lvs1, s.lvs2, err = s.lab.Pair(lab.LVSHA{Bin: s.bin}, set); err != nil {
		return err
	}
	if s.config {
		text, err := os.ReadFile(s.lvs1.File)
		if err != nil {
			return err
		}
		s.block(string(text))
	}
	s.tell("Advertisements every %s, HTTP checks every %s, %d failures in a row mean down.", advert, checkEvery, fall)
	s.weights = map[netip.Addr]int{}
	for _, srv := range s.lab.Servers {
		s.weights[srv.Addr] = 1
	}
	begin := time.Now()
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		if err := d.Start(); err != nil {
			return err
		}
	}
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		if err := d.AwaitWeights(ctx, s.weights); err != nil {
			return err
		}
	}
	s.tell("All servers checked and in both kernel tables after %s.", ms(time.Since(begin)))
	if err := s.lvs1.AwaitVIP(ctx, true); err != nil {
		return err
	}
	s.tell("%s is master and holds the VIP after %s; lvs2 is its warm backup.", s.paint(cyan, "lvs1"), ms(time.Since(begin)))
	return s.settled(ctx)
}

// settled waits until requests are answered.
func (s *story) settled(ctx context.Context) (err error) {
	if s.load, err = s.lab.StartLoad(lab.LoadOptions{Every: requestRate, Timeout: patience}); err != nil {
		return err
	}
	return s.answered(ctx, 1)
}

// answered waits for n answers to requests that start from now on.
func (s *story) answered(ctx context.Context, n int) error {
	from := time.Now()
	return lab.UntilEvery(ctx, 40*time.Millisecond, "requests are answered", func() error {
		if sum := lab.Summarize(s.load.Requests(), from, time.Time{}); sum.OK < n {
			return errors.New(sum.String())
		}
		return nil
	})
}

// since sums up the requests that started in the time and have been decided.
func (s *story) since(from, to time.Time) lab.Summary {
	return lab.Summarize(s.load.Requests(), from, to)
}

// letFinish waits until the requests that have started by now are decided.
func (s *story) letFinish(ctx context.Context) error {
	if err := lab.Pause(ctx, s.load.Timeout); err != nil {
		return err
	}
	return s.answered(ctx, 1)
}

func (s *story) traffic(ctx context.Context) error {
	s.act("Traffic flows through kernel IPVS for 3 s")
	from := time.Now()
	if err := lab.Pause(ctx, 3*time.Second); err != nil {
		return err
	}
	sum := s.since(from, time.Time{})
	s.tell("%s", s.perServer(sum))
	s.measured(sum.Failed == 0 && len(sum.Servers) == servers, "steady traffic, requests failed", fmt.Sprintf("%d of %d", sum.Failed, sum.OK+sum.Failed), "none, all three servers answer")
	return nil
}

func (s *story) perServer(sum lab.Summary) string {
	var out []string
	for _, srv := range s.lab.Servers {
		n := sum.Servers[srv.Name]
		bar := strings.Repeat("■", min(30, n*30/max(1, sum.OK)))
		out = append(out, fmt.Sprintf("%s %s %d", srv.Name, s.paint(green, bar), n))
	}
	return strings.Join(out, "   ")
}

// changed waits for the weight of web2 in lvs1's table and tells when it came.
func (s *story) changed(ctx context.Context, w *lab.Watch, since time.Time, weight string) (time.Duration, error) {
	var at time.Time
	err := lab.Until(ctx, "web2 has weight "+weight+" in the kernel", func() error {
		for _, c := range w.Changes() {
			if strings.Contains(c.Entry, s.lab.Servers[1].Addr.String()+":80") && c.New == weight && c.At.After(since) {
				at = c.At
				return nil
			}
		}
		return fmt.Errorf("changes so far: %v", w.Changes())
	})
	return at.Sub(since), err
}

func (s *story) serverDies(ctx context.Context) error {
	s.act("%s is killed (SIGKILL)", s.paint(red, "web2"))
	w, err := s.lvs1.Host().WatchTable()
	if err != nil {
		return err
	}
	defer w.Stop()
	killed := time.Now()
	if err := s.lab.Servers[1].Kill(ctx); err != nil {
		return err
	}
	took, err := s.changed(ctx, w, killed, "0")
	if err != nil {
		return err
	}
	if err := s.letFinish(ctx); err != nil {
		return err
	}
	sum := s.since(killed, time.Time{})
	late := s.since(killed.Add(took+20*time.Millisecond), time.Time{})
	limit := fall*checkEvery + checkEvery
	s.measured(took <= limit, "web2 crashed, weight 0 in the kernel after", ms(took), fmt.Sprintf("%d checks, at most %s", fall, limit))
	s.tell("%d requests failed meanwhile, a third of what came in: the port refused them.", sum.Failed)
	s.measured(late.Failed == 0, "web2 crashed, requests failed after that", fmt.Sprint(late.Failed), "none")
	s.figures = append(s.figures, figure{"web2 crashed, requests failed before", fmt.Sprint(sum.Failed - late.Failed), "(what checks every " + checkEvery.String() + " cost)"})
	from := time.Now()
	if err := lab.Pause(ctx, 2*time.Second); err != nil {
		return err
	}
	s.tell("%s", s.perServer(s.since(from, time.Time{})))
	return nil
}

func (s *story) serverReturns(ctx context.Context) error {
	s.act("%s is started again", s.paint(green, "web2"))
	w, err := s.lvs1.Host().WatchTable()
	if err != nil {
		return err
	}
	defer w.Stop()
	begin := time.Now()
	if err := s.lab.Servers[1].Start(ctx); err != nil {
		return err
	}
	took, err := s.changed(ctx, w, begin, "1")
	if err != nil {
		return err
	}
	limit := rise*checkEvery + 2*checkEvery
	s.measured(took <= limit, "web2 is back, weight 1 in the kernel after", ms(took), fmt.Sprintf("%d checks, at most %s", rise, limit))
	from := time.Now()
	if err := lab.Pause(ctx, 2*time.Second); err != nil {
		return err
	}
	sum := s.since(begin, time.Time{})
	s.tell("%s", s.perServer(s.since(from, time.Time{})))
	s.measured(sum.Failed == 0, "web2 is back, requests failed", fmt.Sprint(sum.Failed), "none")
	return nil
}

func (s *story) masterDies(ctx context.Context) (err error) {
	s.act("%d long connections are opened; each speaks a line every %s", connections, lineEvery)
	if s.conns, err = s.lab.Hold(ctx, connections, lineEvery, netip.AddrPort{}); err != nil {
		return err
	}
	if err := lab.Pause(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := s.scrape(ctx, s.lvs1, "before"); err != nil {
		return err
	}

	s.act("%s is killed: both processes of the master, SIGKILL", s.paint(red, "lvs1"))
	killed := time.Now()
	if err := s.lvs1.Kill(ctx); err != nil {
		return err
	}
	dead := time.Now()
	ad, err := s.sniffer.Await(ctx, "lvs2 advertises as master", killed, func(a lab.Advert) bool { return a.From == s.lvs2.Addr() && a.Priority > 0 })
	if err != nil {
		return err
	}
	took := ad.At.Sub(killed)
	// RFC 9568: three intervals and the skew of priority 100 after the last one.
	limit := 3*advert + advert*(256-100)/256 + 50*time.Millisecond
	s.measured(took <= limit, "master killed, lvs2 is master after", ms(took), "at most "+ms(limit))
	if err := s.lvs2.AwaitVIP(ctx, true); err != nil {
		return err
	}
	s.tell("lvs1 is dead but its kernel still has the VIP; nobody renews its lifetime.")
	if err := s.lvs1.AwaitVIP(ctx, false); err != nil {
		return err
	}
	gone := time.Since(dead)
	s.measured(gone <= vipLifetime+time.Second, "master killed, VIP gone from it after", fmt.Sprintf("%.1f s", gone.Seconds()), fmt.Sprintf("lifetime %s + 1s", vipLifetime))
	if err := s.letFinish(ctx); err != nil {
		return err
	}
	sum := s.since(killed, time.Time{})
	s.measured(sum.Failed <= 1, "master killed, requests failed", failures(sum), "at most one in mid-handshake; the dead agent's kernel forwards on")
	r, err := s.conns.Verify(ctx)
	s.measured(err == nil, "long connections alive", fmt.Sprintf("%d of %d", r.Alive, r.Opened), "all")
	s.tell("%s.", r)
	return nil
}

func failures(s lab.Summary) string {
	if s.Failed == 0 {
		return fmt.Sprintf("0 of %d", s.OK)
	}
	return fmt.Sprintf("%d of %d, gap %s", s.Failed, s.OK+s.Failed, ms(s.WorstGap))
}

func (s *story) masterReturns(ctx context.Context) error {
	s.act("%s, the preferred director, comes back", s.paint(green, "lvs1"))
	w, err := s.lvs1.Host().WatchTable()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := s.lvs1.Start(); err != nil {
		return err
	}
	ad, err := s.sniffer.Await(ctx, "lvs1 advertises as master", begin, func(a lab.Advert) bool { return a.From == s.lvs1.Addr() && a.Priority > 1 })
	if err != nil {
		return err
	}
	if err := errors.Join(s.lvs1.AwaitVIP(ctx, true), s.lvs2.AwaitVIP(ctx, false)); err != nil {
		return err
	}
	s.measured(true, "preferred director back, master again after", ms(ad.At.Sub(begin)), "after it has checked every server")
	changes, err := w.Stop()
	if err != nil {
		return err
	}
	s.measured(len(changes) == 0, "preferred director back, changes of its kernel table", fmt.Sprint(len(changes)), "none: it adopts what is there")
	if err := s.letFinish(ctx); err != nil {
		return err
	}
	sum := s.since(begin, time.Time{})
	s.measured(sum.Failed <= 1, "preferred director back, requests failed", failures(sum), "at most one, caught in mid-handshake")
	if sum.Failed > 0 {
		s.tell("%s", sum)
	}
	r, err := s.conns.Verify(ctx)
	s.measured(err == nil, "long connections still alive", fmt.Sprintf("%d of %d", r.Alive, r.Opened), "all")
	return nil
}

// shown are the series that tell this story in Prometheus.
var shown = []struct {
	name   string
	labels []string
}{
	{"lvs_ha_vrrp_state", []string{"state", "master"}},
	{"lvs_ha_vrrp_transitions_total", nil},
	{"lvs_ha_vrrp_address_present", nil},
	{"lvs_ha_server_up", []string{"service", "web"}},
	{"lvs_ha_server_weight", []string{"service", "web"}},
	{"lvs_ha_server_transitions_total", []string{"server", "web2", "service", "web"}},
	{"lvs_ha_check_failures_total", []string{"service", "web"}},
	{"lvs_ha_server_connections_total", []string{"service", "web"}},
	{"lvs_ha_sync_daemon_running", nil},
	{"lvs_ha_ipvs_operations_total", nil},
}

// scrape keeps the telling series of a director.
func (s *story) scrape(ctx context.Context, d *lab.Director, when string) error {
	m, err := d.Metrics(ctx)
	if err != nil {
		return err
	}
	s.series = append(s.series, fmt.Sprintf("# %s, %s", d.Host().Name, when))
	for _, sel := range shown {
		for _, sample := range m.Find(sel.name, sel.labels...) {
			// Zeroes are exported, too, but tell nothing here.
			if sample.Value != 0 || sel.name == "lvs_ha_server_weight" {
				s.series = append(s.series, sample.String())
			}
		}
	}
	return nil
}

func (s *story) lastScreen(ctx context.Context) error {
	// Of lvs1 before it died only what it alone saw.
	s.series = slices.DeleteFunc(s.series, func(l string) bool {
		return !strings.HasPrefix(l, "#") && !strings.Contains(l, "connections_total") && !strings.Contains(l, "vrrp_state")
	})
	if err := s.scrape(ctx, s.lvs2, "which saw it all"); err != nil {
		return err
	}
	s.act("What it cost")
	width := 0
	for _, f := range s.figures {
		width = max(width, len(f.what))
	}
	for _, f := range s.figures {
		s.printf("  %-*s  %-20s %s", width, f.what, f.value, s.paint(dim, f.promise))
	}
	s.act("The same in Prometheus (from /metrics of the directors)")
	for _, l := range s.series {
		if strings.HasPrefix(l, "#") {
			l = s.paint(dim, l)
		}
		s.printf("  %s", l)
	}
	s.act("lvs-ha status on lvs1")
	out, stderr, code, err := s.lab.Directors[0].Run(ctx, s.bin, "status", "--runtime-dir", s.lvs1.Dir+"/run")
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("lvs-ha status ended with %d: %s", code, stderr)
	}
	s.block(out)
	n := len(s.figures)
	if s.broken > 0 {
		if g := os.Getenv("LVSHA_GUEST"); g != "" && !strings.Contains(g, "virtual") {
			s.printf("\nIn a guest in real time the figures suffer from whatever else this machine does; `make demo` measures in virtual time.")
		}
		s.printf("\n%s", s.paint(red, fmt.Sprintf("%d promises BROKEN.", s.broken)))
		return nil
	}
	s.printf("\n%s %d figures in %.0f s.", s.paint(green, "All promises kept."), n, time.Since(s.begin).Seconds())
	return nil
}

// explain helps whoever has to find out why the story ended early.
func (s *story) explain() {
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		if d == nil || d.Process() == nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(d.Process().Log()), "\n")
		s.printf("\n%s", s.paint(yellow, "last lines of "+d.Host().Name+":"))
		s.block(strings.Join(lines[max(0, len(lines)-15):], "\n"))
		w, _ := d.Host().Weights()
		s.block(fmt.Sprintf("table: %v", slices.Sorted(maps.Keys(text(w)))))
	}
}

func text(w map[netip.Addr]int) map[string]bool {
	out := map[string]bool{}
	for a, n := range w {
		out[fmt.Sprintf("%s=%d", a, n)] = true
	}
	return out
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
