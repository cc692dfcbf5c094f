package director

import (
	"runtime"
	"time"
)

// touched is a set of services to decide on again.
type touched struct {
	all  bool
	list []int
	in   []bool // parallel to the topology's services
}

// touch has a service decided on again with the next decision.
func (d *Director) touch(service int) {
	t := &d.touched
	if t.all || t.in[service] {
		return
	}
	t.in[service] = true
	t.list = append(t.list, service)
}

func (d *Director) touchService(name string) {
	if i, ok := d.top.named[name]; ok {
		d.touch(i)
	}
}

// servicesOf are the services that servers belong to, each once.
func (d *Director) servicesOf(ids []ServerID) []int {
	var out []int
	seen := map[int]bool{}
	for _, id := range ids {
		if i, ok := d.top.named[id.Service]; ok && !seen[i] {
			seen[i] = true
			out = append(out, i)
		}
	}
	return out
}

// none empties the set.
func (t *touched) none(services int) {
	for _, i := range t.list {
		t.in[i] = false
	}
	t.all, t.list = false, t.list[:0]
	if len(t.in) != services {
		t.in = make([]bool, services)
	}
}

// stale tells whether the present decision no longer holds.
func (d *Director) stale() bool {
	now := time.Now()
	return d.dirty && !now.Before(d.rest) || d.pause.On && d.pause.By.ends(now) || !d.desired.Next.IsZero() && !now.Before(d.desired.Next)
}

// A single event is decided on at once, and so are some hundreds one after the
// other. Where they keep coming, as at a start, decisions have used up their
// credit, and from then on events are decided on together.
const (
	burst      = 5                     // a decision costs so many times its own time
	creditMost = 20 * time.Millisecond // of time for decisions
	restLeast  = 20 * time.Millisecond
)

// spent notes that a decision that began at start is over.
func (d *Director) spent(start time.Time) {
	d.credit = min(creditMost, d.credit+start.Sub(d.creditAt)/burst) - time.Since(start)
	d.creditAt, d.rest = start, time.Time{}
	if d.credit < 0 {
		d.rest = start.Add(max(restLeast, -burst*d.credit))
	}
}

// decide plans from the present state and hands the result on.
func (d *Director) decide() {
	d.dirty = false
	if d.stopping {
		d.desired.Next = time.Time{}
		return
	}
	now := time.Now()
	d.expire(now)
	tracks := d.desired.Tracks
	s := d.state(now)
	w := d.worker.Load()
	if w != nil {
		w.setPaused(d.pause.On)
	}
	if d.o.Paused != nil {
		d.o.Paused(d.pause.On)
	}
	if d.touched.all {
		d.desired = Plan(s)
		if w != nil {
			d.goalSeq = w.setGoal(d.desired.Goal(&s))
			runtime.Gosched() // the writer's turn, also where there is one processor
		}
		for i := range d.desired.Services {
			d.note(i, now)
			d.noteService(i)
		}
	} else {
		done := d.desired.Replan(s, d.touched.list)
		if w != nil {
			// Before anything else: a failed server is out when this is written.
			if seq := w.change(d.desired.changes(d.top, done), d.desired.ManageDaemons, d.desired.Daemons); seq != d.goalSeq {
				d.goalSeq = seq
				runtime.Gosched()
			}
		}
		for _, r := range done {
			d.note(r.service, now)
			d.noteService(r.service)
		}
	}
	d.straggle()
	d.touched.none(len(d.top.Services))
	d.noteTracks(tracks)
	d.posture()
	d.spent(now)
}

// decideAll decides on every service anew.
func (d *Director) decideAll() {
	d.touched.all = true
	d.decide()
}

// judge ends adoption and tells the speaker when this director may be master.
func (d *Director) judge() {
	late := time.Since(d.started) >= JudgeLimit
	if d.adopting && (d.desired.Settled || late) {
		d.adopting = false
		// It makes no difference to what is settled.
		for i, x := range d.desired.Services {
			if !x.settled {
				d.touch(i)
			}
		}
		d.decide()
	}
	if !d.judged && (d.desired.Judged || late) {
		d.judged, d.readySeq = true, d.goalSeq
	}
	if d.judged && !d.ready && (d.worker.Load() == nil || d.kernel.applied >= d.readySeq) {
		d.ready = true
		d.o.Log.Info("ready: the table is applied and every service is judged", "event", "ready", "services", len(d.top.Services))
		d.posture()
		d.notify()
	}
}
