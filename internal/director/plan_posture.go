package director

import (
	"maps"
	"slices"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// TrackStatus is one thing that the director tracks for a VRRP instance.
// Services and checks are told apart by what stands before their names, for
// they, and interfaces, may have one name.
type TrackStatus struct {
	Instance string
	Name     string // service/NAME or check/NAME
	Up       bool
}

// track adds to the posture what is tracked for each instance. What is not
// judged yet is not bad: an instance that is not ready takes over from nobody.
func (d *Desired) track(s *State) {
	c := s.Topology.Config
	for i := range c.Duties {
		duty, name := &c.Duties[i], c.VRRP[i].Name
		for _, t := range duty.TrackServices {
			j, known := s.Topology.named[t.Name]
			up := !known || d.Services[j].Quorum.State != QuorumLost
			d.tracked(name, "service/", t, up)
		}
		for j, t := range duty.TrackChecks {
			v := s.Verdicts[s.Topology.Tracks[i][j]]
			if v.State == health.Unknown {
				d.Judged, d.Settled = false, false
			}
			d.tracked(name, "check/", t.Track, v.State != health.Down)
		}
	}
}

// DoubtDelta is what the priority of every instance changes by while this
// machine doubts its own probes: the other director may see better.
const DoubtDelta = -60

func (d *Desired) doubt(s *State) {
	if !s.Doubting {
		return
	}
	for i := range s.Topology.Config.VRRP {
		d.delta(s.Topology.Config.VRRP[i].Name, DoubtDelta)
	}
}

// delta changes the priority of an instance.
func (d *Desired) delta(instance string, by int) {
	if d.Instances == nil {
		d.Instances = map[string]link.InstancePosture{}
	}
	p := d.Instances[instance]
	p.Deltas = append(p.Deltas, by)
	d.Instances[instance] = p
}

func (d *Desired) tracked(instance, kind string, t vrrp.Track, up bool) {
	d.Tracks = append(d.Tracks, TrackStatus{instance, kind + t.Name, up})
	if up {
		return
	}
	if d.Instances == nil {
		d.Instances = map[string]link.InstancePosture{}
	}
	p := d.Instances[instance]
	switch {
	case t.Delta != 0:
		p.Deltas = append(p.Deltas, t.Delta)
	case p.Fault == "":
		p.Fault = kind + t.Name
	}
	d.Instances[instance] = p
}

// tracks are the keys of the tracked checks, parallel to the configuration's
// duties; each distinct one is probed.
func (t *Topology) tracks(c *conf.Config) {
	t.Tracks = make([][]health.Key, len(c.Duties))
	for i := range c.Duties {
		for j := range c.Duties[i].TrackChecks {
			x := &c.Duties[i].TrackChecks[j]
			k := x.Spec.Key()
			t.Tracks[i] = append(t.Tracks[i], k)
			t.probe(k, &x.Spec)
		}
	}
}

// noteTracks logs what became good or bad. was is nil before the first decision.
func (d *Director) noteTracks(was []TrackStatus) {
	if slices.Equal(was, d.desired.Tracks) {
		return
	}
	before := make(map[TrackStatus]bool, len(was))
	for _, t := range was {
		before[t] = true
	}
	for _, t := range d.desired.Tracks {
		opposite := t
		opposite.Up = !t.Up
		switch {
		case !t.Up && !before[t]:
			d.o.Log.Warn("tracked "+t.Name+" is bad", "event", "track", "vrrp_instance", t.Instance, "track", t.Name, "up", false)
		case t.Up && before[opposite]:
			d.o.Log.Info("tracked "+t.Name+" is good again", "event", "track", "vrrp_instance", t.Instance, "track", t.Name, "up", true)
		}
	}
}

// NotifyRun labels a counter of notify commands that have ended.
type NotifyRun struct {
	Hook   string // the VRRP instance
	Result string // ok, fail or timeout
}

// buildElection fills in what the director does for the election.
func (d *Director) buildElection(s *Snapshot) {
	s.Tracks = slices.Clone(d.desired.Tracks)
	if d.o.NotifyRuns != nil {
		s.NotifyRuns = maps.Clone(d.o.NotifyRuns())
	}
}
