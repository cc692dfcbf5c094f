package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// model is what the run has done to the lab, and says what must come of it. It
// knows the documents, not the program: who may serve, what the tables hold,
// who is master.
type model struct {
	servers   [chaosServers]serverModel
	directors [2]directorModel
	// parted: the directors do not hear one another.
	parted bool
	// file is the newest good configuration; broken: the file is none now.
	file   *chaosConfig
	broken bool
	// held the VIP when all was settled last.
	held [2]bool
}

// serverModel is the state of a real server.
type serverModel struct {
	running, muted, failing, frozen bool
}

// order is what a person wants of a server on one director.
type order struct {
	mode   string // "drain", "maintenance" or ""
	weight int    // -1: as configured
	// The floor does not call back what was ordered by force.
	modeForced, weightForced bool
}

var noOrder = order{weight: -1}

type directorModel struct {
	running bool
	// cut: no carrier. muted: it is not told that nobody hears it.
	cut, muted, backCut bool
	// deaf: it was, and its verdicts may still have the reason of then.
	deaf    bool
	config  *chaosConfig // in force
	refused bool         // its latest reload was
	orders  map[string]order
	paused  bool
	// still is the table while nobody writes: in a pause, without the agent.
	still table
	// lacks: servers that the kernel lacked when the agent started; one that is
	// down then is not brought back.
	lacks   map[string]bool
	foreign table
	// suppressed: told to hand over, it does not preempt until its next start.
	suppressed bool
	// doubting: it distrusts its probes, as it says itself. What is late in the
	// lab is not for the model to know.
	doubting bool
}

// table is what ipvsadm -Sn says: services by their key ("-t 10.0.0.100:80").
type table map[string]*tableEntry

type tableEntry struct {
	options string
	servers map[string]string // by address and port: "-g -w 1"
	// maybe: servers that may as well be absent.
	maybe map[string]bool
	floor *floorModel // nil for none
}

// reaches: the director hears the servers' network.
func (d *directorModel) reaches() bool { return !d.cut && !d.muted }

// passes tells whether a server passes a check.
func (s serverModel) passes(check string) bool {
	switch check {
	case "none":
		return true
	case "tcp": // the kernel accepts in place of a program that hangs
		return s.running && !s.muted
	case "udp":
		return s.running && !s.muted && !s.frozen
	}
	return s.answers()
}

// answers tells whether clients of the server are served.
func (s serverModel) answers() bool { return s.running && !s.muted && !s.frozen && !s.failing }

func (d *directorModel) order(s *chaosService, index int) order {
	if o, ok := d.orders[target(s, index)]; ok {
		return o
	}
	return noOrder
}

func target(s *chaosService, index int) string { return fmt.Sprintf("%s/web%d", s.name, index+1) }

// weightOf a server that passes, after what people want.
func (d *directorModel) weightOf(s *chaosService, v chaosServer) int {
	o := d.order(s, v.index)
	switch {
	case v.disabled || o.mode != "":
		return 0
	case o.weight >= 0:
		return o.weight
	}
	return v.weight
}

// healthy is the weight in service.
func (m *model) healthy(d *directorModel, s *chaosService) (sum int) {
	for _, v := range s.servers {
		if m.servers[v.index].passes(s.check) {
			sum += d.weightOf(s, v)
		}
	}
	return sum
}

// up: the quorum is met.
func (m *model) up(d *directorModel, s *chaosService) bool {
	return m.healthy(d, s) >= max(1, s.quorum)
}

// entry is a service as a director that reaches the servers must have it.
func (m *model) entry(d *directorModel, s *chaosService) *tableEntry {
	e := &tableEntry{options: "-s " + s.scheduler, servers: map[string]string{}, maybe: map[string]bool{}, floor: m.floor(d, s)}
	server := s.server
	if s.persist {
		e.options += " -p 60"
	}
	sorry := s.sorry >= 0 && !m.up(d, s)
	for _, v := range s.servers {
		at, mode, passes := s.address(v.index), d.order(s, v.index).mode, m.servers[v.index].passes(s.check)
		weight, in := 0, true
		switch {
		case v.disabled:
		case !passes:
			in = !s.removes()
			e.maybe[at] = d.lacks[target(s, v.index)]
		case mode == "maintenance":
			in = !s.fluid()
		case !sorry:
			weight = d.weightOf(s, v)
		}
		if in {
			e.servers[at] = server(weight)
		}
	}
	switch {
	case sorry:
		e.servers[s.address(s.sorry)] = server(1)
	case s.sorry >= 0 && !s.removes():
		// It stays without weight if it has served.
		e.servers[s.address(s.sorry)] = server(0)
		e.maybe[s.address(s.sorry)] = true
	}
	return e
}

// server is a server of the service with a weight, as ipvsadm writes it.
func (s *chaosService) server(weight int) string {
	return fmt.Sprintf("%s -w %d", chaosFlags[s.forward], weight)
}

// table is what the kernel of director i must hold.
func (m *model) table(i int) table {
	d := &m.directors[i]
	if !d.running || d.paused {
		return d.still
	}
	t := maps.Clone(d.foreign)
	for k := range d.config.services {
		s := &d.config.services[k]
		t[s.key()] = m.entry(d, s)
	}
	return t
}

// priority of a director: each service that withdraws and lacks its quorum
// takes from it, and so does self-doubt. It does not get below 1.
func (m *model) priority(i int) int {
	d := &m.directors[i]
	p := d.config.priorities()[i]
	if d.doubting {
		p -= chaosDoubt
	}
	for k := range d.config.services {
		if s := &d.config.services[k]; s.withdraw && !m.up(d, s) {
			p -= chaosWithdraw
		}
	}
	return max(1, p)
}

// withoutWithdraw: self-doubt does not change who is preferred.
func (d *directorModel) withoutWithdraw() bool {
	return d.config == nil || d.config.priorities()[0] == 200
}

// preferred is the director that takes over from the other; tie: neither does.
func (m *model) preferred() (i int, tie bool) {
	a, b := m.priority(0), m.priority(1)
	if b > a {
		return 1, false
	}
	return 0, a == b
}

// holders are the directors that must have the VIP. either: they may as well
// have changed places, because it depends on who was first.
func (m *model) holders() (h [2]bool, either bool) {
	a, b := &m.directors[0], &m.directors[1]
	if !a.running || !b.running || !a.reaches() || !b.reaches() || m.parted {
		// Each is alone; without a carrier nobody is master.
		return [2]bool{a.running && !a.cut, b.running && !b.cut}, false
	}
	p, tie := m.preferred()
	best, other := [2]bool{p == 0, p == 1}, [2]bool{p == 1, p == 0}
	if m.held == other && m.directors[p].suppressed {
		return other, false
	}
	return best, tie || m.directors[p].suppressed && m.held != best
}

// view is what clients of the VIP must see.
type view struct {
	// masters are the directors that answer for it.
	masters []int
	// services by name; one that nobody offers is there, too.
	services map[string]*sight
}

// sight is what clients of one service must see.
type sight struct {
	eligible map[string]bool // servers that may answer, by name
	sure     bool            // every request is answered
	spread   bool            // all of them do
}

// view follows from who holds the VIP and what the tables of these are.
func (m *model) view(held [2]bool, tables [2]table) view {
	v := view{services: map[string]*sight{}}
	for i, has := range held {
		if has && m.directors[i].reaches() {
			v.masters = append(v.masters, i)
		}
	}
	for _, name := range []string{"web", "echo", "six"} {
		x := &sight{eligible: map[string]bool{}, sure: len(v.masters) == 1}
		v.services[name] = x
		for _, i := range v.masters {
			e := tables[i][chaosKeys[name]]
			if e == nil {
				x.sure = false
				continue
			}
			m.sight(x, name, e)
			x.spread = x.sure && (e.options == "-s rr" || e.options == "-s wrr")
		}
	}
	return v
}

func (m *model) sight(x *sight, name string, e *tableEntry) {
	alive, weighted := 0, 0
	s := chaosService{name: name}
	for at, o := range e.servers {
		if strings.HasSuffix(o, "-w 0") {
			continue
		}
		weighted++
		for k, srv := range m.servers {
			if at == s.address(k) && (srv.answers() || name == "echo" && srv.passes("udp")) {
				x.eligible[fmt.Sprintf("web%d", k+1)] = true
				alive++
			}
		}
	}
	x.sure = x.sure && alive > 0 && alive == weighted
}

// objects tells whether the program must refuse an order without force: it
// would end a service. maybe: a floor may object, too.
func (m *model) objects(i int, targets []string, change func(order) order) (must, maybe bool) {
	d := &m.directors[i]
	after := *d
	after.orders = maps.Clone(d.orders)
	for _, t := range targets {
		o, ok := after.orders[t]
		if !ok {
			o = noOrder
		}
		after.orders[t] = change(o)
	}
	for k := range d.config.services {
		s := &d.config.services[k]
		if !slices.ContainsFunc(s.servers, func(v chaosServer) bool { return slices.Contains(targets, target(s, v.index)) }) {
			continue
		}
		if s.floor > 0 {
			maybe = true
		} else if m.up(d, s) && !m.up(&after, s) || m.healthy(d, s) > 0 && m.healthy(&after, s) == 0 {
			must = true
		}
	}
	return must, maybe
}

// floored: a floor leaves a choice somewhere.
func (t table) floored() bool {
	for _, e := range t {
		if e.floor != nil {
			return true
		}
	}
	return false
}

// parseSaved reads what ipvsadm -Sn says.
func parseSaved(text string) table {
	t := table{}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) < 3 {
			continue
		}
		key := w[1] + " " + w[2]
		switch w[0] {
		case "-A":
			t[key] = &tableEntry{options: strings.Join(w[3:], " "), servers: map[string]string{}}
		case "-a":
			if e := t[key]; e != nil && len(w) >= 5 {
				// The usual tunnel goes without saying.
				e.servers[w[4]] = strings.TrimSuffix(strings.Join(w[5:], " "), " --tun-type ipip")
			}
		}
	}
	return t
}

// differs tells how a table is not what it must be; "" if it is.
func (want table) differs(got table) string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for key, w := range want {
		g := got[key]
		if g == nil {
			add("%s is missing", key)
			continue
		}
		if g.options != w.options {
			add("%s has %q, want %q", key, g.options, w.options)
		}
		for at, o := range w.servers {
			if have, ok := g.servers[at]; (ok && have != o || !ok && !w.maybe[at]) && !w.floor.raised(at, have) {
				add("%s server %s is %q, want %q", key, at, have, o)
			}
		}
		for at, o := range g.servers {
			if _, ok := w.servers[at]; !ok && !w.floor.raised(at, o) {
				add("%s has server %s %q", key, at, o)
			}
		}
		if why := w.floor.kept(g.servers); why != "" {
			add("%s %s", key, why)
		}
	}
	for key := range got {
		if want[key] == nil {
			add("%s is there", key)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
