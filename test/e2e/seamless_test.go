package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// seamless is a service under load. A step that changes something must not
// cost one request.
type seamless struct {
	*scene
	// One client uses its ports again and again, so that it meets the entries of
	// earlier connections; to the other each connection is a new one.
	reusing, fresh *lab.Load
	// What the file says: of the servers, the first so many.
	scheduler string
	weights   map[int]int // of servers, by number, where not 1
	servers   int
	edit      func(string) string // what else, nil for nothing
}

const (
	loadEvery   = 10 * time.Millisecond
	reusedPorts = 50
)

func startSeamless(t *testing.T, o lab.Options, edit func(string) string) *seamless {
	x := &seamless{scene: open(t, o), scheduler: "rr", weights: map[int]int{}, servers: o.Servers - 1}
	x.edit = edit
	x.start()
	x.reusing = x.load(lab.LoadOptions{Every: loadEvery, Ports: reusedPorts})
	x.fresh = x.load(lab.LoadOptions{Every: loadEvery})
	x.answered(x.reusing, time.Now(), 2*reusedPorts)
	return x
}

func (x *seamless) start() {
	x.Helper()
	x.pair()
	x.write()
	x.must(x.lvs1.Start())
	x.must(x.lvs2.Start())
	x.vip(x.lvs1, true, 15*time.Second)
	x.settled()
	x.vip(x.lvs2, false, 5*time.Second)
}

// write writes the file as it is now to be.
func (x *seamless) write() {
	x.Helper()
	text := x.set.TOML()
	text = strings.Replace(text, `scheduler = "rr"`, fmt.Sprintf("scheduler = %q", x.scheduler), 1)
	text = strings.Replace(text, `remove_after = "never"`, `remove_after = "1s"`, 1)
	for i := x.servers + 1; i <= len(x.set.Servers); i++ {
		text = strings.ReplaceAll(text, x.line(i, 1), "")
	}
	for i, w := range x.weights {
		text = strings.ReplaceAll(text, x.line(i, 1), x.line(i, w))
	}
	if x.edit != nil {
		text = x.edit(text)
	}
	x.must(os.WriteFile(x.lvs1.File, []byte(text), 0o644))
}

func (x *seamless) line(server, weight int) string {
	return fmt.Sprintf(`  { name = "web%d", address = %q, port = %d, weight = %d },`, server, x.set.Servers[server-1], lab.TCPPort, weight)
}

// reload writes the file and waits until both tables follow it.
func (x *seamless) reload() {
	x.Helper()
	x.write()
	for _, d := range []*lab.Director{x.lvs1, x.lvs2} {
		x.must(d.Reload())
	}
	x.settled()
}

// settled waits until both tables hold the scheduler and the weights of the file.
func (x *seamless) settled(except ...int) {
	x.Helper()
	want := map[netip.Addr]int{}
	for i := 1; i <= x.servers; i++ {
		if slices.Contains(except, i) {
			continue
		}
		want[x.set.Servers[i-1]] = 1
		if w, ok := x.weights[i]; ok {
			want[x.set.Servers[i-1]] = w
		}
	}
	x.holds(want)
}

func (x *seamless) holds(want map[netip.Addr]int) {
	x.Helper()
	x.slowly(15*time.Second, fmt.Sprintf("both tables hold %s %v", x.scheduler, want), func() error {
		for _, d := range []*lab.Director{x.lvs1, x.lvs2} {
			got, err := d.Host().Weights()
			if err != nil || !maps.Equal(got, want) {
				return errorf("%s: %v %v", d.Host().Name, got, err)
			}
			table, err := d.Host().Table()
			if err != nil {
				return err
			}
			for _, svc := range table {
				if svc.Addr.Port() == lab.TCPPort && svc.Scheduler != x.scheduler {
					return errorf("%s: %s", d.Host().Name, svc.Scheduler)
				}
			}
		}
		return nil
	})
}

// zero is every server of the file with weight 1, and these with 0.
func (x *seamless) zero(servers ...int) map[netip.Addr]int {
	want := map[netip.Addr]int{}
	for i := 1; i <= x.servers; i++ {
		want[x.set.Servers[i-1]] = 1
		if slices.Contains(servers, i) {
			want[x.set.Servers[i-1]] = 0
		}
	}
	return want
}

// step asserts that no request failed from the start of do, or from the time
// that do returns, to a while after its end.
func (x *seamless) step(name string, do func() (from time.Time)) {
	x.Helper()
	from := time.Now()
	if f := do(); !f.IsZero() {
		from = f
	}
	// Each port comes round once more.
	x.answered(x.reusing, time.Now(), reusedPorts)
	for _, ld := range []*lab.Load{x.reusing, x.fresh} {
		sum := x.decided(ld, from)
		x.Logf("%-28s %s, slowest %s", name, sum, sum.Slowest.Round(100*time.Microsecond))
		if sum.Failed > 0 {
			x.Errorf("%s: %s", name, sum)
		}
	}
}

// TestNoRequestFails: what people and failures do to a service costs no client
// anything, with ports that are used again (a removed server's entries must
// not catch them), as soon as the kernel's table has followed.
func TestNoRequestFails(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	for _, tt := range []struct {
		name string
		mode lab.Mode
		edit func(string) string
	}{
		{"dr", lab.DR, nil},
		{"full nat", lab.NAT, func(text string) string {
			return strings.Replace(text, "[defaults]\n", "[defaults]\nsnat = true\n", 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.mode != lab.DR && os.Getenv("LVSHA_LONG") != "1" {
				t.Skip("costly: make test runs it with dr, make test-long both")
			}
			x := startSeamless(t, lab.Options{Mode: tt.mode, Servers: 4}, tt.edit)
			x.steps()
		})
	}
}

func (x *seamless) steps() {
	always := func(do func()) func() time.Time {
		return func() time.Time { do(); return time.Time{} }
	}
	both := func(args ...string) {
		for _, d := range []*lab.Director{x.lvs1, x.lvs2} {
			x.ask(d, 0, args...)
		}
	}
	x.step("a server is added", always(func() { x.servers = 4; x.reload() }))
	x.step("a server is edited", always(func() {
		x.weights[2] = 3
		x.reload()
		delete(x.weights, 2)
		x.reload()
	}))
	x.step("a server drains", always(func() { both("drain", "web/web2"); x.holds(x.zero(2)) }))
	x.step("a server is ready", always(func() { both("ready", "web/web2"); x.settled() }))
	for _, scheduler := range []string{"wrr", "mh", "rr"} {
		x.step("the scheduler becomes "+scheduler, always(func() { x.scheduler = scheduler; x.reload() }))
	}
	x.step("a server leaves the file", func() time.Time { x.servers = 3; x.reload(); return time.Now() })
	x.step("the director process dies", always(func() {
		old := x.lvs1.Process().Children()
		if len(old) != 1 {
			x.Fatalf("children %v", old)
		}
		x.must(syscall.Kill(old[0], syscall.SIGKILL))
		x.slowly(5*time.Second, "a new director process is ready", func() error {
			code, body, err := x.lvs1.Host().Get(x.ctx, "http://127.0.0.1:10112/readyz")
			if c := x.lvs1.Process().Children(); err == nil && (code != 200 || len(c) != 1 || c[0] == old[0]) {
				err = errorf("%d %s", code, body)
			}
			return err
		})
	}))
	x.step("a drained server is removed", func() time.Time {
		both("drain", "web/web3")
		x.holds(x.zero(3))
		x.servers = 2
		x.reload()
		return time.Now()
	})
	x.step("it comes back", always(func() {
		both("ready", "web/web3")
		x.servers = 3
		x.reload()
	}))
	x.step("a server fails", func() time.Time {
		x.must(x.Servers[1].Kill(x.ctx))
		x.slowly(5*time.Second, "weight 0", func() error {
			got, err := x.lvs1.Host().Weights()
			if w, there := got[x.set.Servers[1]]; err == nil && there && w != 0 {
				err = errorf("%v", got)
			}
			return err
		})
		from := time.Now()
		x.settled(2) // after a second it leaves the table
		return from
	})
	x.step("it recovers", always(func() {
		x.must(x.Servers[1].Start(x.ctx))
		x.settled()
	}))
}
