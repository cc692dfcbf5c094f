package e2e

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/lab"
)

// settle waits until the lab is what the model says, at most as long as the
// documents allow after what was done, and then looks at everything once more,
// as clients and independent programs see it.
func (c *chaos) settle() {
	c.Helper()
	what, bound, began := c.history[len(c.history)-1], c.bound+c.model.slowly(), time.Now()
	must := func(name string, every time.Duration, cond func() error) {
		c.Helper()
		left := max(bound-time.Since(began), 0)
		if err := lab.UntilEvery(limited(c.ctx, left), every, name, cond); err != nil {
			c.Fatalf("after %q, %s (allowed %s): %v", what, time.Since(began).Round(time.Millisecond), bound, err)
		}
	}
	must("processes, tables and addresses are as they must be", 250*time.Millisecond, c.matches)
	must("the sync daemons have their roles", 300*time.Millisecond, c.daemonsMatch)
	must("the agents report it", 300*time.Millisecond, c.reported)
	took, doubts := time.Since(began), [2]bool{c.model.directors[0].doubting, c.model.directors[1].doubting}
	c.clients()
	if err := errors.Join(c.matches(), c.daemonsMatch()); err != nil && doubts == [2]bool{c.model.directors[0].doubting, c.model.directors[1].doubting} {
		c.Fatalf("after %q all was well, but did not stay so: %v", what, err)
	}
	c.advertised()
	c.ramped()
	c.logs()
	if c.Failed() {
		c.FailNow()
	}
	c.learn()
	c.history[len(c.history)-1] += fmt.Sprintf(" (%s of %s)", took.Round(10*time.Millisecond), bound)
	c.bound, c.settled = 0, true
}

// matches compares processes, tables and addresses.
func (c *chaos) matches() error {
	if err := c.doubts(); err != nil {
		return err
	}
	want, either := c.model.holders()
	var held, six [2]bool
	for i, d := range c.directors {
		m := &c.model.directors[i]
		if m.running {
			if d.Process().Ended() {
				return fmt.Errorf("the agent of %s has ended", d.Host().Name)
			}
			if n := len(d.Process().Children()); n != 1 {
				return fmt.Errorf("the agent of %s has %d children", d.Host().Name, n)
			}
		}
		got, err := c.saved(i)
		if err != nil {
			return err
		}
		c.tables[i] = got
		c.ramping(i)
		// What a director holds of servers that it cannot reach is its own affair.
		if !m.running || m.paused || m.reaches() {
			if diff := c.model.table(i).differs(got); diff != "" {
				return fmt.Errorf("table of %s: %s", d.Host().Name, diff)
			}
		} else if err := m.foreignStands(got); err != nil {
			return fmt.Errorf("table of %s: %w", d.Host().Name, err)
		}
		if held[i], err = d.HasVIP(); err == nil {
			six[i], err = d.Host().Has(chaosVIP6)
		}
		if err != nil {
			return err
		}
	}
	if held != six {
		return fmt.Errorf("the VIP is held %v, its IPv6 companion %v", held, six)
	}
	if held != want && !(either && held == [2]bool{!want[0], !want[1]}) {
		return fmt.Errorf("the VIP is held %v, want %v", held, want)
	}
	c.now = held
	return nil
}

// doubts asks the directors whether they doubt, where that decides anything.
func (c *chaos) doubts() error {
	for i, d := range c.directors {
		m := &c.model.directors[i]
		m.doubting = false
		if !m.running || m.withoutWithdraw() && c.model.directors[1-i].withoutWithdraw() {
			continue
		}
		page, err := d.Metrics(c.ctx)
		if err != nil {
			return err
		}
		n, _ := page.Get("lvs_ha_self_doubt")
		m.doubting = n > 0
	}
	return nil
}

// foreignStands compares what is not ours.
func (d *directorModel) foreignStands(got table) error {
	ours := table{}
	for key := range got {
		if !slices.ContainsFunc(chaosNames, func(n string) bool { return chaosKeys[n] == key }) {
			ours[key] = got[key]
		}
	}
	if diff := d.foreign.differs(ours); diff != "" {
		return errors.New(diff)
	}
	return nil
}

// saved is the table of a director as ipvsadm reads it.
func (c *chaos) saved(i int) (table, error) {
	out, stderr, code, err := c.directors[i].Host().Run(c.ctx, "ipvsadm", "-Sn")
	if err != nil || code != 0 {
		return nil, fmt.Errorf("ipvsadm: %d %s %w", code, stderr, err)
	}
	return parseSaved(out), nil
}

func (c *chaos) roles(i int) ([]string, error) {
	out, stderr, code, err := c.directors[i].Host().Run(c.ctx, "ipvsadm", "-L", "--daemon")
	if err != nil || code != 0 {
		return nil, fmt.Errorf("ipvsadm: %d %s %w", code, stderr, err)
	}
	var roles []string
	for _, m := range daemonLine.FindAllStringSubmatch(out, -1) {
		if m[2] != "eth1" || m[3] != fmt.Sprint(lab.SyncID) {
			return nil, fmt.Errorf("wrong daemon: %s", m[0])
		}
		roles = append(roles, m[1])
	}
	slices.Sort(roles)
	return roles, nil
}

// daemonsMatch: the sync daemon runs in the role of the director.
func (c *chaos) daemonsMatch() error {
	for i, d := range c.directors {
		m := &c.model.directors[i]
		if !m.running || m.paused {
			continue
		}
		want := "backup"
		if c.now[i] {
			want = "master"
		}
		got, err := c.roles(i)
		if err == nil && !slices.Equal(got, []string{want}) {
			err = fmt.Errorf("%s runs the sync daemon as %v, want %s", d.Host().Name, got, want)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reported: the agents' own metrics tell the same, and nothing grows.
func (c *chaos) reported() error {
	for i, d := range c.directors {
		m := &c.model.directors[i]
		if !m.running {
			continue
		}
		page, err := d.Metrics(c.ctx)
		if err != nil {
			return err
		}
		state := "backup"
		if c.now[i] {
			state = "master"
		} else if m.cut {
			state = "init"
		}
		one := map[bool]float64{true: 1, false: 0}
		for _, w := range []struct {
			want   float64
			name   string
			labels []string
		}{
			{1, "lvs_ha_vrrp_state", []string{"state", state}},
			{one[!m.refused], "lvs_ha_config_last_reload_successful", nil},
			{one[m.paused], "lvs_ha_ipvs_paused", nil},
			{float64(len(m.config.services)), "lvs_ha_service_up", nil},
		} {
			got, ok := page.Get(w.name, w.labels...)
			if w.name == "lvs_ha_service_up" {
				got = float64(len(page.Find(w.name)))
			}
			if !ok || got != w.want {
				return fmt.Errorf("%s: %s%v is %v, want %v", d.Host().Name, w.name, w.labels, got, w.want)
			}
		}
		// Equal texts and equal hashes go together.
		hash, _ := page.Get("lvs_ha_config_hash")
		for text, h := range c.hashes[i] {
			if same := text == m.config.toml(); same != (h == hash) {
				return fmt.Errorf("%s: configuration number %d is not in force", d.Host().Name, m.config.id)
			}
		}
		c.hashes[i][m.config.toml()] = hash
		c.usage[i] = c.measure(i, page)
	}
	return nil
}

// usage is what leaks show in.
type usage struct{ goroutines, directorFiles, speakerFiles int }

func (c *chaos) measure(i int, page lab.Metrics) usage {
	var u usage
	n, _ := page.Get("go_goroutines")
	u.goroutines = int(n)
	n, _ = page.Get("process_open_fds")
	u.directorFiles = int(n)
	// The speaker has no page of its own.
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.directors[i].Process().PID))
	u.speakerFiles = len(files)
	return u
}

// within tells whether it has not grown more than by some slack.
func (u usage) within(base usage, slack int) bool {
	return u.goroutines <= base.goroutines+slack && u.directorFiles <= base.directorFiles+slack && u.speakerFiles <= base.speakerFiles+slack
}

// clients compares what a client of the VIP sees.
func (c *chaos) clients() {
	c.Helper()
	v := c.model.view(c.now, c.tables)
	var want []string
	for _, i := range v.masters {
		want = append(want, c.mac(c.directors[i].Host()))
	}
	slices.Sort(want)
	got, err := c.whoHas(lab.VIP)
	c.must(err)
	if !slices.Equal(got, want) {
		c.Errorf("%v answer for the VIP, want %v", got, want)
	}
	if c.unheard {
		// A master that nobody heard for a while does not know it, and announces
		// nothing: clients that have taken the other one for it find out by
		// themselves, after up to 8 s. By whoHas ours has, for IPv4.
		c.sh(c.Client, fmt.Sprintf("ip -6 neigh del %s dev eth0 || true", chaosVIP6))
		c.unheard = false
	}
	c.sees("web", v.services["web"], c.burst(lab.LoadOptions{Every: 4 * time.Millisecond}, 30))
	c.sees("six", v.services["six"], c.requests(8, netip.AddrPortFrom(chaosVIP6, lab.TCPPort)))
	sum := c.burst(lab.LoadOptions{UDP: true, Every: 10 * time.Millisecond}, 5)
	// The first datagram may end the entry of an old flow from the same port.
	if echo := v.services["echo"]; echo.sure && sum.OK < 4 || len(echo.eligible) == 0 && sum.OK > 0 {
		c.Errorf("datagrams, eligible %v: %s", names(echo.eligible), sum)
	}
}

// sees compares what requests to a service met.
func (c *chaos) sees(service string, x *sight, sum lab.Summary) {
	c.Helper()
	for name := range sum.Servers {
		if !x.eligible[name] {
			c.Errorf("%s: %s answers, eligible are %v: %s", service, name, names(x.eligible), sum)
		}
	}
	if x.sure && sum.Failed > 0 || len(x.eligible) == 0 && sum.OK > 0 {
		c.Errorf("%s: eligible are %v: %s", service, names(x.eligible), sum)
	}
	if x.spread && len(sum.Servers) < len(x.eligible) {
		c.Errorf("%s: not all of %v answer: %s", service, names(x.eligible), sum)
	}
}

// requests makes some, one after the other, over IPv6.
func (c *chaos) requests(n int, to netip.AddrPort) lab.Summary {
	c.Helper()
	var reqs []lab.Request
	for range n {
		r := lab.Request{Start: time.Now()}
		r.Err = "closed without an answer"
		conn, err := c.Client.DialContext(limited(c.ctx, 200*time.Millisecond), "tcp", to.String())
		if err != nil {
			r.Err = err.Error()
		} else {
			_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
			if b, err := io.ReadAll(conn); err != nil {
				r.Err = err.Error()
			} else if w := strings.Fields(string(b)); len(w) > 1 && w[1] == "200" {
				r.Server, r.Err = w[len(w)-1], ""
			}
			conn.Close()
		}
		r.End = time.Now()
		reqs = append(reqs, r)
	}
	return lab.Summarize(reqs, time.Time{}, time.Time{})
}

func names(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

// burst sends a few requests and sums them up.
func (c *chaos) burst(o lab.LoadOptions, n int) lab.Summary {
	c.Helper()
	o.Timeout = 200 * time.Millisecond
	ld, err := c.StartLoad(o)
	c.must(err)
	err = lab.UntilEvery(limited(c.ctx, 10*time.Second), 10*time.Millisecond, "requests are decided", func() error {
		if have := len(ld.Requests()); have < n {
			return fmt.Errorf("%d of %d", have, n)
		}
		return nil
	})
	reqs, serr := ld.Stop(c.ctx)
	c.must(errors.Join(err, serr))
	return lab.Summarize(reqs, time.Time{}, time.Time{})
}

func (c *chaos) mac(h *lab.Host) string {
	c.Helper()
	var mac string
	c.must(h.Do(func() error {
		ifc, err := net.InterfaceByName("eth0")
		if err == nil {
			mac = ifc.HardwareAddr.String()
		}
		return err
	}))
	return mac
}

// whoHas asks the front network from the client, and returns the hardware
// addresses that claim addr.
func (c *chaos) whoHas(addr netip.Addr) (macs []string, err error) {
	err = c.Client.Do(func() error {
		ifc, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		const proto = unix.ETH_P_ARP&0xff<<8 | unix.ETH_P_ARP>>8 // in the network's order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifc.Index}
		if err := errors.Join(unix.Bind(fd, to), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})); err != nil {
			return err
		}
		self := [4]byte{10, 0, 0, 10}
		frame := slices.Concat([]byte("\xff\xff\xff\xff\xff\xff"), ifc.HardwareAddr, []byte("\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01"),
			ifc.HardwareAddr, self[:], make([]byte, 6), addr.AsSlice())
		if err := unix.Sendto(fd, frame, 0, to); err != nil {
			return err
		}
		buf := make([]byte, 256)
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				continue // nobody, so far
			}
			if n >= 42 && buf[21] == 2 && string(buf[28:32]) == string(addr.AsSlice()) && string(buf[38:42]) == string(self[:]) {
				macs = append(macs, net.HardwareAddr(buf[22:28]).String())
			}
		}
		return nil
	})
	slices.Sort(macs)
	return slices.Compact(macs), err
}

// advertised: on the wire only those who must have the VIP say that they do.
func (c *chaos) advertised() {
	c.Helper()
	from := map[netip.Addr]bool{}
	for _, a := range c.sniffer.Adverts(time.Now().Add(-5 * advert)) {
		from[a.From] = true
	}
	for i, d := range c.directors {
		m := &c.model.directors[i]
		if want := c.now[i] && m.running && m.reaches(); from[d.Addr()] != want {
			c.Errorf("%s advertises: %v, want %v", d.Host().Name, !want, want)
		}
	}
}

// logs: no process has panicked, and none was replaced but by our doing.
func (c *chaos) logs() {
	c.Helper()
	for i, d := range c.directors {
		b, err := os.ReadFile(d.Process().LogPath)
		c.must(err)
		text := string(b[c.read[i]:])
		c.read[i] = len(b)
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "goroutine ", "SIGSEGV"} {
			if at := strings.Index(text, bad); at >= 0 {
				c.Errorf("the log of %s: %.2000s", d.Host().Name, text[at:])
			}
		}
		if !c.model.directors[i].running {
			continue
		}
		child := d.Process().Children()
		if len(child) != 1 {
			c.Errorf("%s has children %v", d.Host().Name, child)
		} else if c.child[i] != 0 && child[0] != c.child[i] {
			c.Errorf("the director process of %s was replaced without our doing", d.Host().Name)
		} else {
			c.child[i] = child[0]
		}
		if !c.usage[i].within(c.base, 40) {
			c.Errorf("%s has grown: %+v, at the start %+v", d.Host().Name, c.usage[i], c.base)
		}
	}
}

// learn takes into the model what only the lab can tell.
func (c *chaos) learn() {
	c.model.held = c.now
	for i := range c.model.directors {
		d := &c.model.directors[i]
		if !d.running || !d.reaches() {
			continue
		}
		for k := range d.config.services {
			s := &d.config.services[k]
			for _, v := range s.servers {
				if c.model.servers[v.index].passes(s.check) && d.order(s, v.index).mode != "maintenance" && !v.disabled {
					delete(d.lacks, target(s, v.index))
				}
			}
		}
	}
}
