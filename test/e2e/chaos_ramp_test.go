package e2e

import (
	"strconv"
	"strings"
	"time"
)

// ramp is a server that recovered in a service with slow start: on its way to
// the full weight it is seen with less.
type ramp struct {
	director int
	key, at  string
	full     int
	seen     bool
}

// slowly is the time that changes take beyond that of their verdicts.
func (m *model) slowly() (d time.Duration) {
	slow, withdraws := false, false
	look := func(c *chaosConfig) {
		for _, s := range c.services {
			slow, withdraws = slow || s.slow, withdraws || s.withdraw
		}
	}
	look(m.file)
	for i := range m.directors {
		if c := m.directors[i].config; c != nil {
			look(c)
		}
	}
	if slow {
		d += chaosRamp
	}
	if withdraws {
		d += boundRole
	}
	return d
}

// expectRamps: a server was broken or mended; before is what it was.
func (c *chaos) expectRamps(k int, before serverModel) {
	after := &c.model.servers[k]
	if !c.settled {
		return
	}
	for i := range c.model.directors {
		d := &c.model.directors[i]
		if !d.running || d.paused || !d.reaches() {
			continue
		}
		for n := range d.config.services {
			s := &d.config.services[n]
			j := s.find(k)
			if !s.slow || j < 0 || before.passes(s.check) || !after.passes(s.check) || s.sorry >= 0 {
				continue
			}
			if w := d.weightOf(s, s.servers[j]); w > 1 {
				c.ramps = append(c.ramps, &ramp{director: i, key: s.key(), at: s.address(k), full: w})
			}
		}
	}
}

// ramping looks for them in the latest table of a director.
func (c *chaos) ramping(i int) {
	for _, r := range c.ramps {
		if e := c.tables[i][r.key]; r.director == i && e != nil {
			_, text, _ := strings.Cut(e.servers[r.at], "-w ")
			w, err := strconv.Atoi(text)
			r.seen = r.seen || err == nil && w > 0 && w < r.full
		}
	}
}

// ramped: all of them were seen.
func (c *chaos) ramped() {
	c.Helper()
	for _, r := range c.ramps {
		if !r.seen {
			c.Errorf("lvs%d: %s server %s came back with its full weight %d at once, in spite of slow start", r.director+1, r.key, r.at, r.full)
		}
	}
	c.ramps = nil
}
