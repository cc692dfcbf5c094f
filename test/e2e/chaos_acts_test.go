package e2e

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"lvs-ha/internal/lab"
)

// act does one thing, or returns false because what the dice said makes no
// sense now.
func (c *chaos) act() bool {
	i := c.rng.IntN(2)
	m := &c.model.directors[i]
	switch n := c.rng.IntN(100); {
	case n < 18:
		return c.actServer(c.rng.IntN(chaosServers))
	case n < 34:
		if !m.running {
			if c.rng.IntN(4) == 0 {
				return c.reboot(i)
			}
			c.did("lvs%d starts", i+1)
			c.start(i)
			return true
		}
		return c.actAgent(i)
	case n < 46:
		return c.actCable(i)
	case n < 64:
		return c.tamper(i)
	case n < 80:
		return c.actConfig()
	default:
		return c.actAdmin(i)
	}
}

// actServer breaks or mends a real server.
func (c *chaos) actServer(k int) bool {
	m, s := &c.model.servers[k], c.Servers[k]
	say := func(what string) { c.did("%s %s", s.Name, what) }
	before := c.model.servers[k]
	defer func() { c.expectRamps(k, before) }()
	switch {
	case !m.running:
		say("starts")
		c.must(s.Start(c.ctx))
		m.running = true
	case m.muted:
		say("is heard again")
		c.must(s.Unmute())
		m.muted = false
	case m.frozen:
		say("goes on")
		c.must(s.Thaw())
		m.frozen = false
	case m.failing:
		say("answers well again")
		c.must(s.Repair())
		m.failing = false
	default:
		switch c.rng.IntN(5) {
		case 0, 1:
			say("is killed")
			c.must(s.Kill(c.ctx))
			m.running = false
		case 2:
			say("is silent")
			c.must(s.Mute())
			m.muted = true
		case 3:
			say("hangs")
			c.must(s.Freeze())
			m.frozen = true
		default:
			say("answers 503")
			c.must(s.Break())
			m.failing = true
		}
	}
	c.noticed()
	c.need(boundVerdict)
	return true
}

// noticed lets the time of a verdict go by: where it changes no table, all
// looks well at once, and the next step would meet it under way.
func (c *chaos) noticed() {
	c.Helper()
	c.must(lab.Pause(c.ctx, boundVerdict-chaosRemove-slack+chaosInterval))
}

// still keeps what the kernel of a director holds while nobody writes to it:
// what the model says, or, if that is not reached yet, what is there.
func (c *chaos) still(i int, stop func()) {
	c.Helper()
	m := &c.model.directors[i]
	want := c.model.table(i)
	if c.settled && want.floored() { // the model leaves a choice
		var err error
		want, err = c.saved(i)
		c.must(err)
	}
	stop()
	if !c.settled || m.running && !m.paused && !m.reaches() {
		var err error
		want, err = c.saved(i)
		c.must(err)
	}
	m.still = want
}

// start starts a dead agent.
func (c *chaos) start(i int) {
	c.Helper()
	m := &c.model.directors[i]
	if c.model.broken {
		c.write(c.model.file.toml())
		c.model.broken = false
	}
	c.adopts(i)
	c.must(c.directors[i].Start())
	m.running, m.suppressed = true, false
	c.need(boundStart)
	if m.cut || m.muted {
		c.need(boundBack) // without its servers it waits for their verdicts
	}
}

// adopts: a director process starts and reads file and kernel.
func (c *chaos) adopts(i int) {
	c.Helper()
	m := &c.model.directors[i]
	if !c.model.broken {
		m.config = c.model.file
	}
	m.refused, m.lacks, c.child[i], m.deaf = false, map[string]bool{}, 0, !m.reaches()
	for key := range c.touched {
		if key[:1] == fmt.Sprint(i) {
			delete(c.touched, key)
		}
	}
	t, err := c.saved(i)
	c.must(err)
	for k := range m.config.services {
		s := &m.config.services[k]
		if e := t[s.key()]; e != nil {
			for _, v := range s.servers {
				if _, has := e.servers[s.address(v.index)]; !has {
					m.lacks[target(s, v.index)] = true
				}
			}
		}
	}
}

// actAgent ends an agent that runs, or a part of it.
func (c *chaos) actAgent(i int) bool {
	d, m := c.directors[i], &c.model.directors[i]
	child := d.Process().Children()
	switch c.rng.IntN(7) {
	case 0, 1:
		c.did("lvs%d is killed", i+1)
		c.still(i, func() { c.must(d.Kill(c.ctx)) })
		m.running = false
		c.need(boundGone + boundRole)
	case 2:
		c.did("lvs%d is stopped", i+1)
		c.still(i, func() {
			code, err := d.Stop(c.ctx)
			c.must(err)
			if code != 0 {
				c.Errorf("lvs%d stopped with status %d", i+1, code)
			}
		})
		m.running = false
		c.need(boundRole)
	case 3:
		if len(child) != 1 {
			return false
		}
		c.did("lvs%d is stopped and started", i+1)
		c.still(i, func() {
			code, err := d.Stop(c.ctx)
			c.must(err)
			if code != 0 {
				c.Errorf("lvs%d stopped with status %d", i+1, code)
			}
		})
		c.start(i)
		c.need(boundRole)
	case 4, 5:
		if len(child) != 1 {
			return false
		}
		c.did("the director process of lvs%d is killed", i+1)
		c.adopts(i)
		c.must(syscall.Kill(child[0], syscall.SIGKILL))
		c.replaced(i, child[0], boundStart)
	default:
		if len(child) != 1 || c.rng.IntN(2) == 0 {
			return false
		}
		c.did("the director process of lvs%d hangs", i+1)
		c.adopts(i)
		c.must(syscall.Kill(child[0], syscall.SIGSTOP))
		c.replaced(i, child[0], boundHang)
	}
	return true
}

// replaced waits for another director process. Until it is there all may look well.
func (c *chaos) replaced(i, old int, limit time.Duration) {
	c.Helper()
	// Seldom: looking that often for a quarter of a minute would cost more than the rest.
	c.slowly(limit, "the director process is replaced", func() error {
		if now := c.directors[i].Process().Children(); len(now) != 1 || now[0] == old {
			return errorf("children %v", now)
		}
		return nil
	})
	c.need(boundStart)
}

// reboot empties the kernel of a director whose agent is dead.
func (c *chaos) reboot(i int) bool {
	m := &c.model.directors[i]
	if m.cut || m.muted || m.backCut {
		return false
	}
	c.did("lvs%d is rebooted", i+1)
	c.must(c.RebootDirector(i + 1))
	c.prepareDirector(i)
	if c.model.parted {
		c.must(c.Part())
	}
	m.still, m.foreign = table{}, table{}
	c.need(slack)
	return true
}

// actCable cuts or mends a cable.
func (c *chaos) actCable(i int) bool {
	m, host := &c.model.directors[i], c.directors[i].Host()
	switch n := c.rng.IntN(8); {
	case c.model.parted && n < 5:
		c.did("the directors hear one another again")
		c.must(c.Join())
		c.model.parted = false
		c.need(boundRole)
	case n == 0 && !c.model.parted:
		c.did("the directors do not hear one another")
		c.must(c.Part())
		c.model.parted = true
		c.need(boundRole)
	case n == 1:
		if m.backCut {
			c.did("back cable of lvs%d mended", i+1)
			c.must(host.MendBack())
		} else {
			c.did("back cable of lvs%d cut", i+1)
			c.must(host.CutBack())
		}
		m.backCut = !m.backCut
		c.need(slack)
	case m.cut:
		c.did("cable of lvs%d mended", i+1)
		c.must(host.Mend())
		m.cut = false
		c.need(boundBack + boundVerdict)
	case m.muted:
		c.did("lvs%d is heard again", i+1)
		c.must(host.Unmute())
		m.muted, c.unheard = false, true
		c.need(boundBack + boundVerdict)
	case n < 5:
		c.did("cable of lvs%d cut", i+1)
		c.must(host.Cut())
		m.cut, m.deaf = true, true
		c.noticed()
		c.need(boundRole + boundVerdict)
	default:
		c.did("lvs%d is silent", i+1)
		c.must(host.Mute())
		m.muted, m.deaf = true, true
		c.noticed()
		c.need(boundRole + boundVerdict)
	}
	// Nothing removes the address of a dead director but its lifetime.
	return true
}

// actConfig writes a file and has it read.
func (c *chaos) actConfig() bool {
	text, what := "", ""
	switch n := c.rng.IntN(10); {
	case n < 2:
		text, what = brokenFile(c.model.file.toml(), c.rng)
		c.did("broken file: %s", what)
		c.write(text)
		c.model.broken = true
	case n == 2:
		c.file(c.model.file.clone(), "the same file again")
	default:
		next, what := c.model.file.change(c.rng)
		c.file(next, "new file: "+what)
	}
	which := 1 + c.rng.IntN(3)
	if c.rng.IntN(2) == 0 {
		which = 3
	}
	for i := range c.directors {
		if which&(1<<i) != 0 && c.model.directors[i].running {
			c.reload(i)
		}
	}
	c.need(slack)
	return true
}

// file writes a good configuration.
func (c *chaos) file(next *chaosConfig, what string) {
	c.Helper()
	c.configs++
	next.id = c.configs
	c.did("%s", what)
	c.write(next.toml())
	c.model.file, c.model.broken = next, false
}

func (c *chaos) reload(i int) {
	c.Helper()
	m := &c.model.directors[i]
	c.history[len(c.history)-1] += fmt.Sprintf(", lvs%d reloads", i+1)
	c.must(c.directors[i].Reload())
	m.refused = c.model.broken
	if !m.refused {
		m.config = c.model.file
	}
	c.need(2*slack + boundVerdict)
}

// restore undoes all that was done, but for the foreign services.
func (c *chaos) restore() {
	c.Helper()
	c.did("everything is mended")
	c.settled = false
	for k := range c.model.servers {
		for m := &c.model.servers[k]; !m.running || m.muted || m.frozen || m.failing; {
			c.actServer(k)
		}
	}
	if c.model.parted {
		c.must(c.Join())
		c.model.parted = false
	}
	first := firstConfig()
	c.file(first, "the first file again")
	for i, d := range c.directors {
		m := &c.model.directors[i]
		if m.backCut {
			c.must(d.Host().MendBack())
		}
		if m.cut {
			c.must(d.Host().Mend())
		}
		if m.muted {
			c.must(d.Host().Unmute())
		}
		m.cut, m.muted, m.backCut = false, false, false
		if m.running {
			c.must(c.stop(d))
		}
		// Preemption is open again, and all is young as it was at the start.
		c.start(i)
	}
	c.need(boundBack + boundGone)
	for i := range c.directors {
		c.slowly(boundBack, "the agent answers", func() error { return c.answers(i) })
		m := &c.model.directors[i]
		// What was ordered for servers that this file does not have stays until one does.
		for s := range first.services {
			for _, x := range first.services[s].servers {
				t := target(&first.services[s], x.index)
				if _, ok := m.orders[t]; ok {
					c.ask(c.directors[i], 0, "ready", t)
					c.ask(c.directors[i], 0, "weight", t, "auto")
				}
			}
		}
		m.orders = map[string]order{}
		if m.paused {
			c.ask(c.directors[i], 0, "resume")
			m.paused = false
		}
	}
}

func (c *chaos) stop(d *lab.Director) error {
	code, err := d.Stop(c.ctx)
	if err == nil && code != 0 {
		err = errorf("status %d", code)
	}
	return err
}

// answers: the control socket is there.
func (c *chaos) answers(i int) error {
	_, stderr, code, err := c.directors[i].Host().Run(c.ctx, os.Getenv("LVSHA_BIN"), "status", "--runtime-dir", c.directors[i].Dir+"/run")
	if err == nil && code != 0 {
		err = errorf("status %d: %s", code, stderr)
	}
	return err
}

// touch notes a repair that the program will have to make, unless the object
// was repaired twice within the last minute: the third time it is let stand.
func (c *chaos) touch(i int, object string) bool {
	name := fmt.Sprint(i, " ", object)
	var recent []time.Time
	for _, t := range c.touched[name] {
		if time.Since(t) < 65*time.Second {
			recent = append(recent, t)
		}
	}
	if len(recent) >= 2 {
		return false
	}
	c.touched[name] = append(recent, time.Now())
	return true
}
