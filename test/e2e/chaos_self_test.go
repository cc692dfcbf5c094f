package e2e

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The model and the comparison are tested by themselves: what they let pass, a
// run lets pass.

func freshModel() *model {
	m := &model{file: firstConfig()}
	for i := range m.servers {
		m.servers[i].running = true
	}
	for i := range m.directors {
		m.directors[i] = directorModel{running: true, config: m.file, orders: map[string]order{}, foreign: table{}, still: table{}}
	}
	return m
}

func TestChaosModelServers(t *testing.T) {
	server := (&chaosService{forward: "dr"}).server
	one, zero := server(1), server(0)
	for _, tt := range []struct {
		name string
		do   func(m *model, d *directorModel)
		web  []string // options of web1 to web4 in the service; "" for absent
		echo []string
	}{
		{"all well", func(*model, *directorModel) {}, []string{one, one, one, ""}, []string{one, one, one, ""}},
		{"killed", func(m *model, _ *directorModel) { m.servers[1].running = false }, []string{one, zero, one, ""}, []string{one, "", one, ""}},
		{"answers 503", func(m *model, _ *directorModel) { m.servers[1].failing = true }, []string{one, zero, one, ""}, []string{one, one, one, ""}},
		{"hangs", func(m *model, _ *directorModel) { m.servers[0].frozen = true }, []string{zero, one, one, ""}, []string{"", one, one, ""}},
		{"drained", func(_ *model, d *directorModel) { d.orders["web/web3"] = order{mode: "drain", weight: -1} }, []string{one, one, zero, ""}, []string{one, one, one, ""}},
		{"in maintenance", func(_ *model, d *directorModel) {
			d.orders["web/web3"], d.orders["echo/web3"] = order{mode: "maintenance", weight: -1}, order{mode: "maintenance", weight: 4}
		}, []string{one, one, zero, ""}, []string{one, one, "", ""}},
		{"weight set", func(_ *model, d *directorModel) { d.orders["web/web1"] = order{weight: 4} }, []string{server(4), one, one, ""}, []string{one, one, one, ""}},
		{"failed and removed", func(m *model, d *directorModel) { m.servers[1].running, d.config.services[0].remove = false, true },
			[]string{one, "", one, ""}, []string{one, "", one, ""}},
		{"persistent", func(m *model, d *directorModel) { m.servers[1].running, d.config.services[0].persist = false, true },
			[]string{one, "", one, ""}, []string{one, "", one, ""}},
		{"sorry serves", func(m *model, d *directorModel) {
			d.config.services[0].sorry = 3
			for i := range 3 {
				m.servers[i].failing = true
			}
		}, []string{zero, zero, zero, one}, []string{one, one, one, ""}},
		{"sorry waits", func(_ *model, d *directorModel) { d.config.services[0].sorry, d.config.services[0].quorum = 3, 3 },
			[]string{one, one, one, zero}, []string{one, one, one, ""}},
		{"short of the quorum", func(m *model, d *directorModel) {
			d.config.services[0].sorry, d.config.services[0].quorum = 3, 3
			m.servers[0].running = false
		}, []string{zero, zero, zero, one}, []string{"", one, one, ""}},
		{"disabled", func(_ *model, d *directorModel) { d.config.services[0].servers[0].disabled = true }, []string{zero, one, one, ""}, []string{one, one, one, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := freshModel()
			tt.do(m, &m.directors[0])
			got := m.table(0)
			for n, want := range [][]string{tt.web, tt.echo} {
				s := &m.file.services[n]
				for i, w := range want {
					if o := got[s.key()].servers[s.address(i)]; o != w {
						t.Errorf("%s web%d is %q, want %q", s.name, i+1, o, w)
					}
				}
			}
		})
	}
}

func TestChaosModelHolders(t *testing.T) {
	both, lvs1, lvs2, none := [2]bool{true, true}, [2]bool{true, false}, [2]bool{false, true}, [2]bool{}
	for _, tt := range []struct {
		name string
		held [2]bool
		do   func(m *model, a, b *directorModel)
		want [2]bool
	}{
		{"well", lvs1, func(*model, *directorModel, *directorModel) {}, lvs1},
		{"preempts", lvs2, func(*model, *directorModel, *directorModel) {}, lvs1},
		{"told to hand over", lvs2, func(_ *model, a, _ *directorModel) { a.suppressed = true }, lvs2},
		{"handed over and cut", lvs2, func(_ *model, a, _ *directorModel) { a.suppressed, a.cut = true, true }, lvs2},
		{"dead", lvs1, func(_ *model, a, _ *directorModel) { a.running = false }, lvs2},
		{"both dead", lvs1, func(_ *model, a, b *directorModel) { a.running, b.running = false, false }, none},
		{"cut", lvs1, func(_ *model, a, _ *directorModel) { a.cut = true }, lvs2},
		{"silent", lvs1, func(_ *model, a, _ *directorModel) { a.muted = true }, both},
		{"parted", lvs1, func(m *model, _, _ *directorModel) { m.parted = true }, both},
		{"one again", both, func(*model, *directorModel, *directorModel) {}, lvs1},
	} {
		m := freshModel()
		m.held = tt.held
		tt.do(m, &m.directors[0], &m.directors[1])
		if got, _ := m.holders(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestChaosModelView: who may answer is read off the table of the master, be
// it what the program wants or what stands.
func TestChaosModelView(t *testing.T) {
	m := freshModel()
	m.servers[0].running = false
	look := func() view { return m.view([2]bool{true, false}, [2]table{m.table(0), m.table(1)}) }
	v := look()
	for name, x := range v.services {
		if !slices.Equal(names(x.eligible), []string{"web2", "web3"}) || !x.sure || !x.spread || !slices.Equal(v.masters, []int{0}) {
			t.Errorf("one server dead: %s %+v", name, x)
		}
	}
	d := &m.directors[0]
	d.paused, d.still = true, freshModel().table(0)
	for name, x := range look().services {
		if x.sure || !slices.Equal(names(x.eligible), []string{"web2", "web3"}) {
			t.Errorf("the table stands and sends to a dead server: %s %+v", name, x)
		}
	}
	d.muted = true
	v = look()
	for name, x := range v.services {
		if len(v.masters) > 0 || len(x.eligible) > 0 || x.sure {
			t.Errorf("nobody reaches the master: %s %+v", name, x)
		}
	}
}

func TestChaosModelObjects(t *testing.T) {
	drain := func(o order) order { o.mode = "drain"; return o }
	m := freshModel()
	objects := func(targets ...string) bool {
		must, _ := m.objects(0, targets, drain)
		return must
	}
	if objects("web/web1") {
		t.Error("two servers are left")
	}
	if !objects("web/web1", "web/web2", "web/web3") {
		t.Error("nobody is left")
	}
	m.servers[1].failing, m.servers[2].running = true, false
	if !objects("web/web1") || objects("web/web2") {
		t.Error("one of web is left, and it is web1")
	}
	m.file.services[0].floor = 50
	if must, maybe := m.objects(0, []string{"web/web1"}, drain); must || !maybe {
		t.Error("a floor may object or help")
	}
}

// TestChaosModelFloor: any choice that keeps enough is right, no other.
func TestChaosModelFloor(t *testing.T) {
	m := freshModel()
	s := &m.file.services[0]
	s.floor = 50 // of 3: two servers
	for i := range m.servers {
		m.servers[i].running = i == 3 // nobody listens on web1 to web3
	}
	table := func(weights ...int) table {
		e := &tableEntry{options: "-s rr", servers: map[string]string{}}
		for i, w := range weights {
			e.servers[s.address(i)] = s.server(w)
		}
		t := m.table(0)
		t[s.key()] = e
		return t
	}
	check := func(name string, good bool, weights ...int) {
		t.Helper()
		if diff := m.table(0).differs(table(weights...)); (diff == "") != good {
			t.Errorf("%s, weights %v: %q", name, weights, diff)
		}
	}
	check("two are kept", true, 1, 1, 0)
	check("two others are kept", true, 0, 1, 1)
	check("one too few", false, 1, 0, 0)
	check("one too many", false, 1, 1, 1)
	check("another weight", false, 1, 2, 0)
	m.servers[0].running = true
	check("one serves, one is kept", true, 1, 0, 1)
	check("the one that serves is out", false, 0, 1, 1)
	m.servers[1].running, m.servers[1].frozen = true, true
	check("the silent one is kept", true, 1, 1, 0)
	check("the refusing one is kept", false, 1, 0, 1)
	m.directors[0].orders["web/web1"] = order{mode: "drain", weight: -1}
	check("the drained one is called back", true, 1, 1, 0)
	m.directors[0].orders["web/web1"] = order{mode: "drain", weight: -1, modeForced: true}
	check("not by force", true, 0, 1, 1)
	check("by force, and called back", false, 1, 1, 0)
}

// TestChaosModelWithdraw: a lost quorum turns the directors round.
func TestChaosModelWithdraw(t *testing.T) {
	m := freshModel()
	m.held = [2]bool{true, false}
	own := m.file.clone()
	own.services[1].withdraw, own.services[1].quorum = true, 3
	m.directors[0].config = own
	if h, _ := m.holders(); h != m.held {
		t.Errorf("the quorum is met: %v", h)
	}
	m.servers[0].running = false
	if h, either := m.holders(); h != [2]bool{false, true} || either {
		t.Errorf("lost on lvs1: %v", h)
	}
	m.directors[1].config = own
	if h, either := m.holders(); h != [2]bool{true, false} || either {
		t.Errorf("lost on both: %v", h)
	}
}

const savedText = `-A -t 10.0.0.77:99 -s wrr
-a -t 10.0.0.77:99 -r 10.0.0.55:99 -g -w 7
-A -u 10.0.0.100:81 -s rr
-a -u 10.0.0.100:81 -r 10.0.0.21:81 -g -w 1
-a -u 10.0.0.100:81 -r 10.0.0.22:81 -g -w 0
-A -f 7 -s sh -p 60
-a -f 7 -r 10.0.0.21:0 -g -w 3
`

// TestChaosTables: every difference is one, but for what may be absent.
func TestChaosTables(t *testing.T) {
	want := parseSaved(savedText)
	if len(want) != 3 || want["-f 7"].options != "-s sh -p 60" {
		t.Fatalf("read %v", want)
	}
	if diff := want.differs(parseSaved(savedText)); diff != "" {
		t.Error(diff)
	}
	lines := strings.SplitAfter(savedText, "\n")
	for i := range lines[:len(lines)-1] {
		if diff := want.differs(parseSaved(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""))); diff == "" {
			t.Errorf("without %q it is the same", lines[i])
		}
	}
	for _, edit := range [][2]string{{"-w 3", "-w 4"}, {"-g -w 1", "-i -w 1"}, {"-s rr", "-s wlc"}, {"-p 60", "-p 61"}, {"10.0.0.22:81", "10.0.0.23:81"}} {
		if diff := want.differs(parseSaved(strings.Replace(savedText, edit[0], edit[1], 1))); diff == "" {
			t.Errorf("with %v it is the same", edit)
		}
	}
	tunnels := strings.Replace(savedText, "-g -w 3", "-i -w 3 --tun-type ipip", 1)
	if got := parseSaved(tunnels)["-f 7"].servers["10.0.0.21:0"]; got != (&chaosService{forward: "tun"}).server(3) {
		t.Errorf("a tunnel is read as %q", got)
	}
	e := want["-u 10.0.0.100:81"]
	e.maybe = map[string]bool{"10.0.0.22:81": true}
	if diff := want.differs(parseSaved(strings.Replace(savedText, lines[4], "", 1))); diff != "" {
		t.Errorf("one that may be absent: %s", diff)
	}
}

// TestChaosConfigs: what the dice make of a configuration stays one, and a
// broken file is not the good one.
func TestChaosConfigs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := firstConfig()
	seen := map[string]bool{}
	for range 300 {
		next, _ := c.change(rng)
		seen[next.toml()] = true
		if len(next.services) == 0 {
			t.Fatal("no services are left")
		}
		for _, s := range next.services {
			if len(s.servers) == 0 || s.quorum < 1 || s.sorry >= 0 && s.find(s.sorry) >= 0 || s.pooled && !slices.Equal(s.servers, next.pool) {
				t.Fatalf("%+v", s)
			}
		}
		if text, what := brokenFile(next.toml(), rng); text == next.toml() {
			t.Fatalf("%s: nothing is broken", what)
		}
		c = next
	}
	if len(seen) < 100 {
		t.Errorf("only %d configurations", len(seen))
	}
}
