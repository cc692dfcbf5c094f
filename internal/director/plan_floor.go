package director

import (
	"math"
	"slices"
	"time"

	"lvs-ha/health"
)

// Floor tells of min_healthy in one service.
type Floor struct {
	// Weight that is to stay in service; 0 without min_healthy.
	Weight uint32
	// Held servers would be out of service without the floor.
	Held int
	// Short: even with them less than Weight serves, and nobody is left to judge.
	Short bool
}

// rank orders the servers that the floor may keep, best first.
type rank uint8

const (
	// rankHealthy: passes its checks, but a person has taken it out or lowered it.
	rankHealthy rank = iota
	// rankSoft: fails in a way that a wrong check or a moment of load also gives.
	rankSoft
	// rankHard: nobody listens there.
	rankHard
)

func rankOf(f *health.Failure) rank {
	if f != nil && f.Reason.Hard() {
		return rankHard
	}
	return rankSoft
}

// floor keeps servers in service until they weigh what min_healthy asks for,
// whoever took them out. Servers without a verdict count with what they have
// and are not raised; those in maintenance or taken out by force are not
// called back. Where a sorry server waits, servers that refuse connections are
// not kept: it is better than they.
func (p *pool) floor() {
	svc := p.ts.Conf
	if svc.MinHealthy <= 0 {
		return
	}
	var all, serving uint64
	for j := range p.claims {
		if srv := p.ts.Servers[j].Conf; srv.Enabled {
			all += uint64(srv.Kernel.Weight)
		}
		serving += uint64(p.actual(j))
	}
	// A share that is exact in the file must not become one more by rounding.
	want := uint64(math.Ceil(svc.MinHealthy*float64(all) - 1e-6))
	f := &p.dec.Floor
	f.Weight = uint32(want)
	if serving >= want {
		return
	}
	spares := p.spares()
	gain := func(j int) uint64 { return uint64(p.claims[j].spare - p.claims[j].weight) }
	n := 0
	for ; n < len(spares) && serving < want; n++ {
		serving += gain(spares[n])
	}
	// A heavy one at the end can make lighter ones before it needless. The
	// worst of these go, and what is left is the answer to its own result too.
	chosen := spares[:n]
	for i := n - 1; i >= 0; i-- {
		if g := gain(chosen[i]); serving-g >= want {
			serving -= g
			chosen = slices.Delete(chosen, i, i+1)
		}
	}
	for _, j := range chosen {
		c, dec := &p.claims[j], &p.dec.Servers[j]
		c.unheld = new(*dec)
		c.weight = c.spare
		dec.Weight, dec.InTable, dec.Held = c.spare, true, true
		dec.Why = "kept in service by min_healthy; " + dec.Why
		f.Held++
	}
	f.Short = serving < want && !p.pending()
}

// stepBack undoes the floor where something better serves.
func (p *pool) stepBack() {
	for j := range p.claims {
		if was := p.claims[j].unheld; was != nil {
			p.dec.Servers[j] = *was
		}
	}
	p.dec.Floor.Held, p.dec.Floor.Short = 0, p.dec.Floor.Weight > 0
}

// pending tells whether a server has no verdict yet.
func (p *pool) pending() bool {
	return slices.ContainsFunc(p.dec.Servers, func(d ServerDecision) bool { return d.State == ServerPending })
}

// actual weight that a server serves with: a kept one has what the kernel holds.
func (p *pool) actual(j int) uint32 {
	if p.dec.Servers[j].Keep {
		if held, has := p.kernel.Servers[p.ts.Servers[j].Conf.Kernel.Key]; has {
			return held.Weight
		}
	}
	return p.claims[j].weight
}

// spares are the servers that the floor may raise, best first. Among equals
// one that serves already goes first, so that nothing moves without need, then
// the one that failed last: its state is the least certain.
func (p *pool) spares() []int {
	var out []int
	for j := range p.claims {
		c := &p.claims[j]
		if c.spare <= c.weight || c.rank == rankHard && p.hasSorry() {
			continue
		}
		out = append(out, j)
	}
	serves := func(j int) bool { return p.kernel.Servers[p.ts.Servers[j].Conf.Kernel.Key].Weight > 0 }
	slices.SortStableFunc(out, func(a, b int) int {
		if x, y := p.claims[a].rank, p.claims[b].rank; x != y {
			return int(x) - int(y)
		}
		if x, y := serves(a), serves(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return p.dec.Servers[b].Since.Compare(p.dec.Servers[a].Since)
	})
	return out
}

// rampSteps is the number of steps of a slow start; each is one write.
const rampSteps = 20

// ramp is the weight of a server that recovered at from and is to reach its
// full weight after over, and when it changes next (zero: it does not). It
// depends on nothing but its arguments: nothing can add up.
func ramp(weight uint32, over time.Duration, from, now time.Time) (uint32, time.Time) {
	if over <= 0 || weight <= 1 || from.IsZero() || now.Sub(from) >= over {
		return weight, time.Time{}
	}
	steps := min(rampSteps, int64(weight))
	n := int64(max(0, now.Sub(from))) * steps / int64(over)
	// The first moment at which n is one more.
	next := from.Add(time.Duration(((n+1)*int64(over) + steps - 1) / steps))
	return max(1, uint32(int64(weight)*n/steps)), next
}
