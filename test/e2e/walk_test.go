package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvs-ha/internal/lab"
)

// TestWalk lets things happen in random order and asserts after each that the
// pair has found its way: the preferred director that can be reached holds the
// VIP and nobody else, every table holds what is alive, clients are served.
// LVSHA_LONG makes the walk longer, LVSHA_SEED chooses another.
func TestWalk(t *testing.T) {
	binary(t)
	needIPVS(t)
	steps, seed := 6, uint64(1)
	switch os.Getenv("LVSHA_LONG") {
	case "":
	case "slice":
		steps = 15
	default:
		steps = 120
	}
	if v, err := strconv.ParseUint(os.Getenv("LVSHA_SEED"), 10, 64); err == nil {
		seed = v
	}
	s := open(t, lab.Options{Mode: lab.DR, Servers: 3})
	s.start()
	s.ctx = t.Context() // a long walk takes longer than a scenario
	w := &walk{scene: s, rng: rand.New(rand.NewPCG(seed, 0)), load: s.load(lab.LoadOptions{Every: 20 * time.Millisecond})}
	w.directors = [2]node{{director: s.lvs1, alive: true, plugged: true}, {director: s.lvs2, alive: true, plugged: true}}
	w.servers = [3]bool{true, true, true}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, history:\n%s", seed, strings.Join(w.history, "\n"))
		}
	}()
	for len(w.history) < steps {
		// Each step has its own time, so that a long walk does not run out.
		w.step()
		w.settle()
	}
	t.Logf("seed %d: %s", seed, strings.Join(w.history, "; "))
}

type node struct {
	director       *lab.Director
	alive, plugged bool
	mute           bool // how it was unplugged
}

func (n *node) reachable() bool { return n.alive && n.plugged }

type walk struct {
	*scene
	rng       *rand.Rand
	load      *lab.Load
	directors [2]node
	servers   [3]bool
	history   []string
}

func (w *walk) did(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// step does one thing that leaves a way to serve.
func (w *walk) step() {
	i := w.rng.IntN(2)
	n, other := &w.directors[i], &w.directors[1-i]
	name := n.director.Host().Name
	switch w.rng.IntN(8) {
	case 0, 1:
		if n.alive && other.reachable() {
			if w.rng.IntN(2) == 0 {
				w.did("kill %s", name)
				w.must(n.director.Kill(w.ctx))
			} else {
				w.did("stop %s", name)
				code, err := n.director.Stop(w.ctx)
				w.must(err)
				if code != 0 {
					w.Errorf("%s stopped with status %d", name, code)
				}
			}
			n.alive = false
		} else if !n.alive {
			w.did("start %s", name)
			w.must(n.director.Start())
			n.alive = true
		}
	case 2, 3:
		host := n.director.Host()
		switch {
		case !n.plugged && n.mute:
			w.did("unmute %s", name)
			w.must(host.Unmute())
			n.plugged = true
		case !n.plugged:
			w.did("mend %s", name)
			w.must(host.Mend())
			n.plugged = true
		case other.reachable() && w.rng.IntN(2) == 0:
			w.did("mute %s", name)
			w.must(host.Mute())
			n.plugged, n.mute = false, true
		case other.reachable():
			w.did("cut %s", name)
			w.must(host.Cut())
			n.plugged, n.mute = false, false
		}
	case 4:
		if c := n.director.Process().Children(); n.alive && len(c) == 1 {
			w.did("kill the director process of %s", name)
			w.must(syscall.Kill(c[0], syscall.SIGKILL))
		}
	case 5:
		if n.alive {
			w.did("reload %s", name)
			w.must(n.director.Reload())
		}
	default:
		k := w.rng.IntN(len(w.servers))
		srv := w.Servers[k]
		up := 0
		for _, alive := range w.servers {
			if alive {
				up++
			}
		}
		switch {
		case !w.servers[k]:
			w.did("start %s", srv.Name)
			w.must(srv.Start(w.ctx))
			w.servers[k] = true
		case up > 1:
			w.did("kill %s", srv.Name)
			w.must(srv.Kill(w.ctx))
			w.servers[k] = false
		}
	}
}

// settle waits until everything is as it must be, and stays so for a moment.
func (w *walk) settle() {
	w.Helper()
	weights := map[netip.Addr]int{}
	for i, alive := range w.servers {
		weights[w.Servers[i].Addr] = 0
		if alive {
			weights[w.Servers[i].Addr] = 1
		}
	}
	master := 0
	if !w.directors[0].reachable() {
		master = 1
	}
	last := "the start"
	if len(w.history) > 0 {
		last = w.history[len(w.history)-1]
	}
	// A VIP of a dead director needs its lifetime to go.
	w.within(lifetime+5*time.Second, "all is well after "+last, func() error {
		for i := range w.directors {
			n := &w.directors[i]
			if n.alive && n.director.Process().Ended() {
				return fmt.Errorf("%s has ended", n.director.Host().Name)
			}
			// One that hears nobody may hold the VIP on its side.
			if n.plugged || !n.alive {
				if err := n.director.CheckVIP(i == master); err != nil {
					return err
				}
			}
			if !n.reachable() {
				continue
			}
			got, err := n.director.Host().Weights()
			if err != nil {
				return err
			}
			if !maps.Equal(got, weights) {
				return fmt.Errorf("%s has the weights %v, want %v", n.director.Host().Name, got, weights)
			}
		}
		return nil
	})
	now := time.Now()
	w.answered(w.load, now, 5)
	if sum := w.decided(w.load, now); sum.Failed > 0 {
		w.Errorf("after %s all seemed well, but: %s", last, sum)
	}
	w.load.Forget(now)
}
