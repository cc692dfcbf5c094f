package director

import (
	"runtime"
	"time"
)

// touched is a set of services to decide on again, and of single servers.
type touched struct {
	all     bool
	list    []int      // as a whole
	servers []serverAt // of other services or of these
	marks   []mark     // parallel to the topology's services
}

// mark of a service in the set.
type mark uint8

const (
	markWhole  mark = 1 << iota // it is in list
	markKernel                  // and what the kernel holds of it in servers
)

// touch has a service decided on again with the next decision.
func (d *Director) touch(service int) {
	t := &d.touched
	if t.all || t.marks[service]&markWhole != 0 {
		return
	}
	t.marks[service] |= markWhole
	t.list = append(t.list, service)
}

// touchServer has a server decided on again with the next decision.
func (d *Director) touchServer(x serverAt) {
	t := &d.touched
	if t.all || t.marks[x.service]&markWhole != 0 {
		return
	}
	if x.server == onlyKernel {
		// It may happen many times before anything is decided.
		if t.marks[x.service]&markKernel != 0 {
			return
		}
		t.marks[x.service] |= markKernel
	}
	t.servers = append(t.servers, x)
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
		t.marks[i] = 0
	}
	for _, x := range t.servers {
		t.marks[x.service] = 0
	}
	t.all, t.list, t.servers = false, t.list[:0], t.servers[:0]
	if len(t.marks) != services {
		t.marks = make([]mark, services)
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
		}
	} else {
		done := d.desired.Replan(s, d.touched.list, d.touched.servers)
		if w != nil {
			// Before anything else: a failed server is out when this is written.
			if seq := w.change(d.desired.changes(d.top, done), d.desired.ManageDaemons, d.desired.Daemons); seq != d.goalSeq {
				d.goalSeq = seq
				runtime.Gosched()
			}
		}
		for _, r := range done {
			if r.was != nil {
				d.note(r.service, now)
				continue
			}
			for _, x := range r.servers {
				d.noteServer(r.service, x.server, now)
			}
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
