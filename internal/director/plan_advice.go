package director

import (
	"fmt"

	"lvs-ha/conf"
	"lvs-ha/health"
)

// lesser of what two checks of one server ask for: out of service before less
// weight, less weight before more. Without advice of the one the other counts.
func lesser(a, b health.Advice, configured uint32) health.Advice {
	rank := func(k health.AdviceKind) int {
		switch k {
		case health.AdviseMaint:
			return 3
		case health.AdviseDrain:
			return 2
		case health.AdviseWeight, health.AdvisePercent:
			return 1
		case health.NoAdvice:
		}
		return 0
	}
	if x, y := rank(a.Kind), rank(b.Kind); x != y {
		if x > y {
			return a
		}
		return b
	}
	if b.Weight(configured) < a.Weight(configured) {
		return b
	}
	return a
}

// advised is the decision on a server that passes and asks for something.
// Whatever it is, the floor may give the configured weight in its place: a
// wrong answer that all servers of a pool give is a mistake like any other. A
// weight that a person has ordered goes before one that the server asks for.
func advised(svc *conf.Service, v Verdict, ordered bool, weight, configured uint32) (ServerDecision, claim) {
	dec := ServerDecision{State: ServerUp, Healthy: true, InTable: true, Weight: weight, Since: v.Since, Advice: v.Advice}
	c := claim{weight: weight}
	switch v.Advice.Kind {
	case health.NoAdvice:
		return dec, c
	case health.AdviseDrain:
		dec.State = ServerDrain
	case health.AdviseMaint:
		dec.State = ServerMaintenance
		dec.InTable = quiesces(svc)
	case health.AdviseWeight, health.AdvisePercent:
		// Nor does a server ask itself out of the file's "takes no traffic".
		if ordered || configured == 0 {
			return dec, c
		}
	}
	dec.Weight = v.Advice.Weight(configured)
	dec.Why = "the server asks for " + v.Advice.String()
	c.weight = dec.Weight
	if c.weight < configured {
		c.spare, c.rank = configured, rankHealthy
	}
	return dec, c
}

// noteAdvice logs when a server takes itself out or comes back. Weights that
// follow load change all the time: they are for the debug log.
func (d *Director) noteAdvice(id ServerID, r *record, dec *ServerDecision) {
	was, now := r.advice, dec.Advice
	if was == now {
		return
	}
	r.advice = now
	log := d.o.Log.Debug
	if out(was) || out(now) {
		log = d.o.Log.Info
	}
	what := now.String()
	if now.Kind == health.NoAdvice {
		what = "its configured weight"
	}
	log(fmt.Sprintf("service %s: server %s asks for %s", id.Service, id.Server, what), "event", "server_advice",
		"service", id.Service, "server", id.Server, "advice", now.String())
}

func out(a health.Advice) bool { return a.Kind == health.AdviseDrain || a.Kind == health.AdviseMaint }
