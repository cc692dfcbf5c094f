package director

import (
	"fmt"
	"slices"
	"time"

	"lvs-ha/conf"
	"lvs-ha/ipvsctl"
)

// WithdrawDelta is what a service with on_quorum_loss = "withdraw" adds to the
// priority of its VRRP instance while its quorum is lost. It is more than the
// customary distance of two directors, 50. Where both directors lose the same
// service both go down alike, and the order stays.
const WithdrawDelta = -60

// QuorumState of a service.
type QuorumState uint8

const (
	QuorumUnknown QuorumState = iota // not judged yet
	QuorumMet
	QuorumLost
)

// Quorum of a service, and since when.
type Quorum struct {
	State QuorumState
	Since time.Time
}

// quorumOf a service before this decision. What the kernel holds tells it to a
// director that was started again, so that the start writes nothing.
func (s *State) quorumOf(p *pool) Quorum {
	svc := p.ts.Conf
	if q, ok := s.Quorum[svc.Name]; ok {
		return q
	}
	if svc.Sorry != nil && p.kernel.Servers[svc.Sorry.Key].Weight > 0 {
		return Quorum{QuorumLost, s.Accepted}
	}
	for _, k := range p.kernel.Servers {
		if k.Weight > 0 {
			return Quorum{QuorumMet, s.Accepted}
		}
	}
	return Quorum{QuorumUnknown, s.Accepted}
}

// quorum compares the healthy weight with what the service needs.
func (p *pool) quorum(s *State) {
	svc := p.ts.Conf
	was := s.quorumOf(p)
	need := needs(svc, was.State)
	healthy := uint64(p.dec.HealthyWeight)
	p.dec.Up = healthy >= need
	p.dec.Quorum = was
	limit := s.Accepted.Add(JudgeLimit)
	switch {
	case p.dec.Up:
		p.dec.Quorum.to(QuorumMet, s.Now)
	case healthy+p.hoped() >= need && s.Now.Before(limit):
		// Servers that nobody has judged yet decide: wait for them.
		p.at(limit)
	default:
		p.dec.Quorum.to(QuorumLost, s.Now)
	}
	if p.dec.Quorum.State != QuorumLost {
		return
	}
	// While the hysteresis alone keeps the quorum lost, the sorry server stays
	// too, or it would flap in its place; but a floor that is kept comes first.
	if p.hasSorry() && (p.dec.ServingWeight < max(1, svc.Quorum) || p.dec.Floor.Weight == 0) {
		p.dec.SorryActive = true
		p.stepBack()
		for j := range p.dec.Servers {
			dec := &p.dec.Servers[j]
			if dec.InTable && (dec.Weight > 0 || dec.Keep) {
				dec.Weight, dec.Keep = 0, false
				if dec.State == ServerUp {
					dec.Why = fmt.Sprintf("stands back for the sorry server: healthy weight %d, needs %d", p.dec.HealthyWeight, max(1, uint64(svc.Quorum))+uint64(svc.QuorumHysteresis))
				}
			}
		}
	}
	p.dec.withdraws = withdraws(svc)
}

// needs is the healthy weight that a service needs, given what its quorum was.
func needs(svc *conf.Service, was QuorumState) uint64 {
	need := uint64(max(1, svc.Quorum))
	switch h := uint64(svc.QuorumHysteresis); was {
	case QuorumMet:
		need = max(1, need-min(need, h))
	case QuorumLost:
		need += h
	case QuorumUnknown:
	}
	return need
}

// withdraws tells whether a lost quorum lowers the priority of an instance.
func withdraws(svc *conf.Service) bool {
	return svc.OnQuorumLoss == conf.QuorumWithdraw && svc.VRRP != ""
}

// withdraw lowers the priority of the instances whose services ask for it.
func (d *Desired) withdraw(s *State) {
	for _, i := range s.Topology.withdraw {
		if d.Services[i].withdraws {
			d.delta(s.Topology.Services[i].Conf.VRRP, WithdrawDelta)
		}
	}
}

func (q *Quorum) to(st QuorumState, now time.Time) {
	if q.State != st {
		*q = Quorum{st, now}
	}
}

// hoped is the weight that servers without a verdict may bring yet.
func (p *pool) hoped() uint64 {
	var sum uint64
	for j := range p.dec.Servers {
		if p.dec.Servers[j].State != ServerPending {
			continue
		}
		if w, now := p.ts.Servers[j].Conf.Kernel.Weight, p.kept(j); w > now {
			sum += uint64(w - now)
		}
	}
	return sum
}

// kept is the weight in the kernel that stands for a server without a verdict.
func (p *pool) kept(j int) uint32 {
	if !p.dec.Servers[j].Keep {
		return 0
	}
	return p.kernel.Servers[p.ts.Servers[j].Conf.Kernel.Key].Weight
}

// hasSorry tells whether a sorry server waits for the quorum to be lost.
func (p *pool) hasSorry() bool {
	return p.ts.Conf.Sorry != nil && p.ts.Conf.OnQuorumLoss == conf.QuorumSorry
}

// sorry puts the sorry server into the table while it stands in. After that it
// goes as a failed server does: weight 0 first, so that what it has begun it
// can end.
func (p *pool) sorry(s *State) {
	svc := p.ts.Conf
	if svc.Sorry == nil {
		return
	}
	k := *svc.Sorry
	if !p.dec.SorryActive {
		if _, has := p.kernel.Servers[k.Key]; !has || p.removed(s, p.dec.Quorum.Since) {
			return
		}
		k.Weight = 0
	}
	p.dec.extra = append(p.dec.extra, k)
}

// linger leaves servers that the configuration no longer names in the table
// while nothing else there has weight and those that are new wait for their
// first verdict: a reload that exchanges a whole pool does not empty it.
func (p *pool) linger(s *State) {
	limit := s.Accepted.Add(JudgeLimit)
	if !p.present || !s.Now.Before(limit) {
		return
	}
	for j := range p.dec.Servers {
		dec := &p.dec.Servers[j]
		if dec.InTable && max(dec.Weight, p.kept(j)) > 0 {
			return
		}
	}
	if !p.pending() || p.dec.SorryActive {
		return
	}
	for key, k := range p.kernel.Servers {
		if k.Weight > 0 && !p.names(key) {
			p.dec.extra = append(p.dec.extra, k)
			p.at(limit)
		}
	}
	slices.SortFunc(p.dec.extra, func(a, b ipvsctl.Server) int { return a.Key.Compare(b.Key) })
}

func (p *pool) names(k ipvsctl.ServerKey) bool {
	for j := range p.ts.Servers {
		if p.ts.Servers[j].Conf.Kernel.Key == k {
			return true
		}
	}
	return p.ts.Conf.Sorry != nil && p.ts.Conf.Sorry.Key == k
}
