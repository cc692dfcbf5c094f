package conf

import (
	"fmt"
	"time"

	"lvs-ha/ipvsctl"
)

// quorum reads what is done when servers are few. The servers are known already.
func (b *builder) quorum(s *Service, own, v view) {
	var all uint64
	var heaviest uint32
	for i := range s.Servers {
		all += uint64(s.Servers[i].Kernel.Weight)
		heaviest = max(heaviest, s.Servers[i].Kernel.Weight)
	}
	const most = 1<<32 - 1
	s.Quorum = uint32(v.integer("quorum", 1, 1, most))
	s.QuorumHysteresis = uint32(v.integer("quorum_hysteresis", 0, 0, most))
	weigh := fmt.Sprintf("all servers together weigh %d", all)
	switch q, h := uint64(s.Quorum), uint64(s.QuorumHysteresis); {
	case len(s.Servers) == 0 || all == 0:
	case q > all:
		v.bad("quorum", "can never be met, "+weigh, fmt.Sprintf("lower quorum to %d or less, or raise the weights", all))
	case q+h > all:
		v.bad("quorum_hysteresis", fmt.Sprintf("makes a lost quorum of %d never come back: it would need %d, and %s", q, q+h, weigh),
			fmt.Sprintf("lower it to %d or less", all-q))
	}
	s.OnQuorumLoss = OnQuorumLoss(v.choice("on_quorum_loss", string(QuorumSorry), string(QuorumSorry), string(QuorumKeep), string(QuorumWithdraw)))
	s.Sorry = b.sorry(s, v)
	s.SlowStart = v.duration("slow_start", 0, 0, time.Hour)
	// What is inherited may fit other services.
	if s.Sorry != nil && s.OnQuorumLoss != QuorumSorry && own.has("sorry") {
		own.warn("sorry", fmt.Sprintf("has no effect with on_quorum_loss = %q", s.OnQuorumLoss), "")
	}
	if s.OnQuorumLoss == QuorumWithdraw && s.VRRP == "" && own.has("on_quorum_loss") {
		own.warn("on_quorum_loss", "has no effect: the service belongs to no VRRP instance", "")
	}
	if s.Sorry == nil && s.OnQuorumLoss == QuorumSorry && own.str("on_quorum_loss", "") == string(QuorumSorry) && !own.has("sorry") {
		own.warn("on_quorum_loss", "has no effect without a sorry server", `write sorry = { address = "10.0.0.99" }`)
	}
	if s.SlowStart > 0 && own.has("slow_start") && heaviest <= 1 && len(s.Servers) > 0 {
		own.warn("slow_start", "has no effect: weight 1 is the least a server can start with", "give the servers larger weights, as weight = 100")
	}
	s.MinHealthy = b.percent(v, "min_healthy")
}

// sorry reads the server that stands in for the others.
func (b *builder) sorry(s *Service, v view) *ipvsctl.Server {
	sv := v.subTable("sorry", true)
	if !sv.exists() {
		return nil
	}
	set := b.settings(sv, b.settings(v, serverSettings{forward: ipvsctl.Direct}))
	k := &ipvsctl.Server{Forward: set.forward, Weight: 1}
	if set.forward == ipvsctl.Tunnel {
		k.TunnelType, k.TunnelPort = set.tunnel, set.tunPort
	}
	if !b.endpoint(s, sv, k) {
		return nil
	}
	for i := range s.Servers {
		if s.Servers[i].Kernel.Key == k.Key {
			b.add(finding{at: sv.table(), what: fmt.Sprintf("has the address and port of server %s", quote(s.Servers[i].Name)),
				cure: "a sorry server is there when the others are not: name another one"})
		}
	}
	return k
}
