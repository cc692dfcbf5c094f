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
		{"drained", func(_ *model, d *directorModel) { d.orders["web/web3"] = order{"drain", -1} }, []string{one, one, zero, ""}, []string{one, one, one, ""}},
		{"in maintenance", func(_ *model, d *directorModel) {
			d.orders["web/web3"], d.orders["echo/web3"] = order{"maintenance", -1}, order{"maintenance", 4}
		}, []string{one, one, zero, ""}, []string{one, one, "", ""}},
		{"weight set", func(_ *model, d *directorModel) { d.orders["web/web1"] = order{"", 4} }, []string{server(4), one, one, ""}, []string{one, one, one, ""}},
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
	v := m.view([2]bool{true, false})
	if !slices.Equal(names(v.web), []string{"web2", "web3"}) || !v.sureWeb || !v.sureEcho || !v.spread || !slices.Equal(v.masters, []int{0}) {
		t.Errorf("one server dead: %+v", v)
	}
	d := &m.directors[0]
	d.paused, d.still = true, freshModel().table(0)
	if v := m.view([2]bool{true, false}); v.sureWeb || !slices.Equal(names(v.web), []string{"web2", "web3"}) {
		t.Errorf("the table stands and sends to a dead server: %+v", v)
	}
	d.muted = true
	if v := m.view([2]bool{true, false}); len(v.masters) > 0 || len(v.web) > 0 || v.echo || v.sureWeb {
		t.Errorf("nobody reaches the master: %+v", v)
	}
}

func TestChaosModelObjects(t *testing.T) {
	drain := func(o order) order { o.mode = "drain"; return o }
	m := freshModel()
	if m.objects(0, []string{"web/web1"}, drain) {
		t.Error("two servers are left")
	}
	if !m.objects(0, []string{"web/web1", "web/web2", "web/web3"}, drain) {
		t.Error("nobody is left")
	}
	m.servers[1].failing, m.servers[2].running = true, false
	if !m.objects(0, []string{"web/web1"}, drain) || m.objects(0, []string{"web/web2"}, drain) {
		t.Error("one of web is left, and it is web1")
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
			if len(s.servers) == 0 || s.quorum < 1 || s.sorry >= 0 && s.find(s.sorry) >= 0 {
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
