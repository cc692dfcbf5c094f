package speaker

import (
	"fmt"
	"time"

	"lvs-ha/vrrp/link"
)

// defaultGrace is how long a director may be away, or not ready again, before
// mastership is offered to others: its start takes up to ten seconds.
const defaultGrace = 30 * time.Second

// apply carries out one Configure.
func (l *loop) apply(plan *change) {
	if l.grace = plan.grace; l.grace <= 0 {
		l.grace = defaultGrace
	}
	for _, p := range plan.ports {
		l.attach(p)
	}
	for _, f := range plan.tracks {
		f()
	}
	for _, in := range plan.leave {
		in.leave()
	}
	for _, u := range plan.update {
		u.in.reconfigure(u.spec)
	}
	for _, in := range plan.add {
		l.add(in)
		in.start()
		if l.leaving {
			in.leave()
		}
	}
	// The set of virtual addresses, and with it the source, may be another one.
	for _, in := range l.instances {
		in.interfaceChanged()
	}
}

// takePosture takes what the director says. One that was ready and is not any
// more, because it was started anew, gets the benefit of the doubt for the
// grace: what it said before goes on to count.
func (l *loop) takePosture(p link.Posture) {
	if p.Away || !p.Ready && l.posture.Ready {
		if l.unready == 0 {
			l.unready = now()
		}
		l.pending = p
		if l.posture.Ready {
			return
		}
		if p.Away { // never was ready, and is away: nothing changes
			return
		}
	} else {
		l.unready = 0
	}
	l.posture = p
	for _, in := range l.instances {
		in.posture()
	}
}

// graceOver ends the benefit of the doubt.
func (l *loop) graceOver(at time.Duration) {
	for _, in := range l.instances {
		if in.resumed != 0 && at >= in.resumed+l.grace {
			in.resumed = 0
			in.posture()
		}
	}
	if l.unready == 0 || !l.posture.Ready || at < l.unready+l.grace {
		return
	}
	l.log.Warn("the director is away or not ready for too long, offering mastership", "event", "director_away",
		"for", (at - l.unready).Round(time.Millisecond))
	if l.pending.Away {
		l.posture.Ready = false // what it tracked stays as last known
	} else {
		l.posture = l.pending
	}
	for _, in := range l.instances {
		in.posture()
	}
}

func (l *loop) failover(f link.Failover) error {
	for _, in := range l.instances {
		if in.spec.Name == f.Instance && !in.leaving {
			return in.failover(f)
		}
	}
	return fmt.Errorf("there is no vrrp instance %q", f.Instance)
}

// stopAll begins the orderly end of everything.
func (l *loop) stopAll() {
	l.leaving = true
	for _, in := range l.instances {
		in.leave()
	}
}
