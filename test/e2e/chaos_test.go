package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// The configuration's times, and what follows from them: how long the lab may
// take to be what the model says.
const (
	chaosReconcile        = time.Second
	chaosInterval         = 200 * time.Millisecond
	chaosTimeout          = 150 * time.Millisecond
	chaosFall, chaosRise  = 2, 2
	chaosRemove           = time.Second
	chaosRamp             = 2 * time.Second
	slack                 = 500 * time.Millisecond
	boundVerdict          = chaosFall*chaosInterval + chaosTimeout + chaosRemove + slack
	boundRepair           = chaosReconcile + slack
	boundAddress          = lifetime/3 + slack          // renewed at each third
	boundRole             = takeover + 3*time.Second    // the sync daemons overlap
	boundGone             = lifetime + time.Second      // the kernel counts in whole seconds
	boundStart            = boundRole + 2*time.Second   // and the first verdicts
	boundBack             = 10*time.Second + boundRole  // waits for servers it lost
	boundHang             = 15*time.Second + boundStart // silence that is taken for the end
	chaosSlice            = 5
	chaosLong             = 12 * time.Minute
	chaosReloads          = 8
	chaosGrowth, chaosEnd = 4, 12
)

// chaos is a run.
type chaos struct {
	*scene
	rng       *rand.Rand
	model     model
	directors [2]*lab.Director
	history   []string
	aloud     bool // the history is told as it comes
	began     time.Time
	// bound is the time for what was done since all was settled.
	bound   time.Duration
	settled bool
	unheard bool // a director was silent until lately, and none has noticed
	// now: who held the VIP at the latest look; tables are what was in the kernels.
	now    [2]bool
	tables [2]table
	ramps  []*ramp // slow starts that have to be seen
	// child is the director process of each, 0 for not known; read what was
	// read of the logs.
	child, read [2]int
	hashes      [2]map[string]float64 // of the configurations on each
	usage       [2]usage
	base        usage
	configs     int
	touched     map[string][]time.Time // repairs of objects by their names
}

// TestChaos does what happens to a pair of directors, in random order, and
// compares clients, kernel tables, addresses, roles and reports with a model
// after each step. Any seed must pass: LVSHA_SEED chooses it ("7", or "1-20"
// for several); with LVSHA_LONG=slice it ends after some steps.
func TestChaos(t *testing.T) {
	if os.Getenv("LVSHA_LONG") == "" {
		t.Skip("costly: runs with LVSHA_LONG set (make test-long)")
	}
	binary(t)
	needIPVS(t)
	needProgram(t, "ipvsadm")
	first, last := seeds(t)
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { runChaos(t, seed) })
	}
}

func seeds(t *testing.T) (first, last uint64) {
	t.Helper()
	v := os.Getenv("LVSHA_SEED")
	if v == "" {
		return 7, 7
	}
	a, b, both := strings.Cut(v, "-")
	first, err := strconv.ParseUint(a, 10, 64)
	last = first
	if err == nil && both {
		last, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil {
		t.Fatalf("LVSHA_SEED=%q: %v", v, err)
	}
	return first, last
}

func runChaos(t *testing.T, seed uint64) {
	c := openChaos(t, seed)
	defer func() {
		if t.Failed() {
			t.Logf("to see this again: test/vm/go-test -run TestChaos -e LVSHA_SEED=%d -e LVSHA_LONG=%s ./test/e2e/", seed, os.Getenv("LVSHA_LONG"))
			t.Logf("seed %d, history:\n%s", seed, strings.Join(c.history, "\n"))
		}
	}()
	more := func(int) bool { return time.Since(c.began) < chaosLong }
	if os.Getenv("LVSHA_LONG") == "slice" {
		more = func(steps int) bool { return steps < chaosSlice }
	}
	for n := 0; more(n); n++ {
		c.step()
		c.settle()
	}
	steps := len(c.history)
	c.end()
	t.Logf("seed %d: %d steps in %s of its time", seed, steps, time.Since(c.began).Round(time.Second))
}

// openChaos starts the lab and waits until all is well.
func openChaos(t *testing.T, seed uint64) *chaos {
	s := open(t, lab.Options{Mode: lab.DR, Servers: chaosServers, Back: true})
	s.ctx = t.Context() // a long run takes longer than a scenario
	c := &chaos{scene: s, rng: rand.New(rand.NewPCG(seed, 0)), hashes: [2]map[string]float64{{}, {}}, touched: map[string][]time.Time{}, began: time.Now(), aloud: testing.Verbose()}
	s.pair()
	c.prepare()
	c.directors = [2]*lab.Director{s.lvs1, s.lvs2}
	c.model.file = firstConfig()
	for i := range c.model.servers {
		c.model.servers[i].running = true
	}
	for i := range c.model.directors {
		c.model.directors[i].orders = map[string]order{}
		c.model.directors[i].foreign = table{}
		c.model.directors[i].still = table{}
	}
	c.base = usage{1 << 20, 1 << 20, 1 << 20}
	c.write(c.model.file.toml())
	c.did("both directors start")
	c.start(0)
	c.start(1)
	c.settle()
	c.base = c.usage[0]
	return c
}

// limited is ctx with a time limit; the timer ends the context by itself.
func limited(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func (c *chaos) did(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf("%7.2fs  ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
	if c.aloud {
		fmt.Println(c.history[len(c.history)-1])
	}
}

// need allows time for what was done, on top of what came before.
func (c *chaos) need(d time.Duration) { c.bound += d }

// step does one thing, sometimes several at once.
func (c *chaos) step() {
	n := 1
	if c.rng.IntN(5) == 0 {
		n = 2 + c.rng.IntN(2)
	}
	for i := range n {
		if i > 0 {
			c.settled = false
			c.must(lab.Pause(c.ctx, time.Duration(c.rng.IntN(400))*time.Millisecond))
		}
		for !c.act() {
		}
	}
	if n > 1 { // one act may undo what another one begins
		c.ramps = nil
	}
	if !c.settled {
		// Before what was begun has an effect all may look well.
		c.must(lab.Pause(c.ctx, boundVerdict))
	} else if c.rng.IntN(8) == 0 {
		quiet := time.Duration(c.rng.IntN(6000)) * time.Millisecond
		c.did("%s go by", quiet)
		c.must(lab.Pause(c.ctx, quiet))
	}
}

// write puts a text in place of the configuration file.
func (c *chaos) write(text string) {
	c.Helper()
	c.must(os.WriteFile(c.lvs1.File, []byte(text), 0o644))
}

// end brings everything back to the beginning and sees that nothing was left
// over, and that nothing grows with what was done.
func (c *chaos) end() {
	c.Helper()
	c.restore()
	c.settle()
	for i := range c.directors {
		if !c.usage[i].within(c.base, chaosEnd) {
			c.Errorf("%s at the end: %+v, at the start %+v", c.directors[i].Host().Name, c.usage[i], c.base)
		}
	}
	before := c.usage
	for n := range chaosReloads {
		next := c.model.file.clone()
		next.services[0].servers[0].weight = 1 + n%2
		c.file(next, "another weight")
		for i, d := range c.directors {
			c.reload(i)
			c.slowly(2*boundVerdict, "the reload is seen in the table", c.matches)
			c.ask(d, 0, "drain", "web/web1")
			c.ask(d, 0, "ready", "web/web1")
		}
	}
	c.settle()
	for i := range c.directors {
		if !c.usage[i].within(before[i], chaosGrowth) {
			c.Errorf("%s has grown by %d reloads: %+v, was %+v", c.directors[i].Host().Name, chaosReloads, c.usage[i], before[i])
		}
	}
}
