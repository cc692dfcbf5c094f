package director

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/internal/histogram"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// JudgeLimit bounds the time after the start in which servers without a
// verdict hold back readiness.
const JudgeLimit = 10 * time.Second

// Speaker is the other process, as the director needs it.
type Speaker interface {
	Configure(ctx context.Context, c link.Configure) error
	SetPosture(p link.Posture)
	Status(ctx context.Context) (*link.Status, error)
	Notify(n link.Notify)
}

// Checks runs the probes.
type Checks interface {
	Apply(specs []health.Spec)
	Statuses() map[health.Key]health.Status
	Running() int
	Lag() histogram.Snapshot
	Doubt() health.Doubt
}

// Prepared is something a new configuration needs, made ready but not yet in
// force: exactly one of Commit and Abandon is called.
type Prepared struct {
	Commit, Abandon func()
}

// Options wire a director to its surroundings.
type Options struct {
	// Load reads the configuration again; its error is complete for people.
	Load func() (*conf.Config, error)
	// OpenKernel opens IPVS; called when the first configuration needs it.
	OpenKernel func() (ipvsctl.Kernel, error)
	// Prepare readies listeners and whatever else a configuration needs; may be nil.
	Prepare func(*conf.Config) (Prepared, error)
	// Accepted is called with each configuration that came into force; may be nil.
	Accepted func(*conf.Config)
	// Removed is called from the loop with the servers that have left the
	// kernel's table, each a DeleteServer. It must not block; may be nil.
	Removed func([]ipvsctl.Op)
	// Warnings tells what else is not as it should be now, for people; may be nil.
	Warnings func() []string
	// Stragglers is called from the loop with what is to become of them from now
	// on, under the configuration in force. It must not block; may be nil.
	Stragglers func(*conf.Config, []Stragglers)
	// Paused is called from the loop, with each decision, with whether a person has
	// stopped all changes of the kernel. It must not block; may be nil.
	Paused func(bool)
	// Repairs counts what others had changed on this machine beside IPVS and was
	// set right again, by kind; may be nil.
	Repairs  func() map[string]uint64
	Speaker  Speaker
	Checks   Checks
	StateDir string
	Log      *slog.Logger
	// NotifyRuns counts notify commands that have ended; may be nil.
	NotifyRuns func() map[NotifyRun]uint64
	// Logged counts log records of this process by level; may be nil.
	Logged func() map[string]uint64
}

// Director decides. One goroutine (Run) owns everything below "loop".
type Director struct {
	o       Options
	box     *mailbox
	started time.Time
	snap    atomic.Pointer[Snapshot]
	reload  sync.Mutex // one load at a time
	worker  atomic.Pointer[kernelWorker]
	runCtx  context.Context
	wg      sync.WaitGroup

	// loop
	top       *Topology
	config    ConfigStatus
	verdicts  map[health.Key]Verdict
	roles     map[string]Role
	roleSeq   uint64
	strays    strayState
	owned     map[ipvsctl.ServiceKey]bool // never changed, but replaced
	adopting  bool
	judged    bool
	ready     bool
	readySeq  uint64 // goal that has to be applied before we are ready
	desired   Desired
	goalSeq   uint64
	dirty     bool          // something happened that the decision depends on
	touched   touched       // the services that it concerns, and such as differ in the kernel
	rest      time.Time     // no decision before, but for a role
	credit    time.Duration // of time for decisions, as of creditAt
	creditAt  time.Time
	stopping  bool          // the table is being removed: no more decisions
	stopped   chan struct{} // closed by the loop when nothing is left to do; nil while we do not stop
	records   map[ServerID]*record
	services  map[string]*serviceRecord
	accepted  time.Time // of the configuration in force
	quorum    map[string]Quorum
	admin     map[ServerID]Admin
	returned  map[ServerID]time.Time // from maintenance
	gone      map[ServerID]bool      // removed by an earlier director
	pause     Pause
	doubting  bool                     // what the probe scheduler thinks of itself
	resumed   map[health.Key]time.Time // slow starts that went on while the director was away
	told      *link.Posture            // as last sent
	kernel    kernelState
	status    *link.Status
	statusAt  time.Time
	stats     map[ipvsctl.ServiceKey]ipvsctl.EntryStats // last read
	ownedSave map[ipvsctl.ServiceKey]bool               // as last saved
}

// ServerID names a server of a service, over reloads.
type ServerID struct{ Service, Server string }

// record is what is remembered of a server beside the present decision.
type record struct {
	health   health.State
	advice   health.Advice
	up, down uint64
	since    time.Time
}

// New makes a director; it starts nothing.
func New(o Options) *Director {
	d := &Director{
		o: o, box: newMailbox(), started: time.Now(), creditAt: time.Now(),
		verdicts: map[health.Key]Verdict{}, roles: map[string]Role{}, records: map[ServerID]*record{},
		services: map[string]*serviceRecord{}, quorum: map[string]Quorum{}, returned: map[ServerID]time.Time{},
		adopting: true,
	}
	d.kernel.ops = map[OperationResult]uint64{}
	d.kernel.drift = map[string]uint64{}
	d.kernel.took = histogram.New(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
	return d
}

// Start brings the first configuration into force. An error means that
// nothing was changed and that the program cannot run; it is complete for people.
func (d *Director) Start(ctx context.Context, c *conf.Config) error {
	d.runCtx = ctx
	owned, err := loadOwned(d.o.StateDir)
	if err != nil {
		d.o.Log.Warn("the list of services that were ours cannot be read", "event", "state_unreadable", "err", err)
	}
	d.owned = owned
	if d.admin, d.pause, err = loadAdmin(d.o.StateDir); err != nil {
		d.o.Log.Warn("drains and other orders of before cannot be read; every server is ready", "event", "state_unreadable", "err", err)
	}
	acc, err := d.prepare(ctx, c)
	if err != nil {
		return err
	}
	if w := d.worker.Load(); w != nil {
		table, err := w.kernel.Dump(ctx)
		if err != nil {
			acc.Abandon()
			return fmt.Errorf("cannot read the kernel's IPVS table: %w", err)
		}
		d.kernel.table.take(table)
		d.kernel.up = true
		d.kernel.daemons, _ = w.kernel.Daemons(ctx)
	}
	if st, err := d.o.Speaker.Status(ctx); err == nil {
		d.takeStatus(st)
	}
	acc.Commit()
	top := NewTopology(c)
	d.accept(c, top)
	d.gone = removedBefore(top, d.kernel.table.Table)
	d.resumed = rampsUnderWay(top, d.kernel.table.Table, d.admin, time.Now())
	w := d.worker.Load()
	if w != nil {
		d.startWorker(ctx, w)
	}
	d.records = make(map[ServerID]*record, len(top.Keys))
	d.decideAll()
	if w != nil {
		// Clients wait for the table, and for nothing of what follows.
		select {
		case <-w.began:
		case <-time.After(firstPass):
		case <-ctx.Done():
		}
	}
	d.settle()
	d.snap.Store(d.build(nil, nil))
	return nil
}

// firstPass bounds how long the rest of the start waits for the kernel.
const firstPass = 2 * time.Second

// Run is the loop; it ends with ctx.
func (d *Director) Run(ctx context.Context) error {
	defer d.wg.Wait()
	beat := time.NewTicker(link.HeartbeatEvery)
	defer beat.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	d.judge() // where nothing has to be judged nothing else may happen
	d.notify()
	for {
		if next := d.wakeAt(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			d.notify()
			continue
		case <-timer.C:
		case <-d.box.wake:
			dirty := false
			for _, f := range d.box.take() {
				f()
				dirty = true
			}
			if !dirty {
				continue
			}
		}
		if d.stale() {
			d.decide()
		}
		d.judge()
		d.finish()
	}
}

func (d *Director) startWorker(ctx context.Context, w *kernelWorker) {
	d.wg.Go(func() {
		w.run(ctx)
		if err := w.kernel.Close(); err != nil {
			d.o.Log.Debug("closing IPVS", "err", err)
		}
	})
}

// wakeAt is when the loop has something to do although nothing happened.
func (d *Director) wakeAt() time.Time {
	next := d.desired.Next
	if t := d.pause.By.Expires; d.pause.On && !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	if d.adopting {
		if t := d.started.Add(JudgeLimit); next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if d.dirty && (next.IsZero() || d.rest.Before(next)) {
		next = d.rest
	}
	return next
}

// OnChange takes a verdict of the probe scheduler. It does not block.
func (d *Director) OnChange(c health.Change) {
	d.box.post(func() {
		d.verdicts[c.Key] = d.verdict(&c)
		d.top.fed(c.Key, d.touchServer)
		d.dirty = true
	})
}

// OnDoubt takes what the probe scheduler thinks of itself. It does not block.
func (d *Director) OnDoubt(x health.Doubt) {
	d.box.post(func() {
		if d.doubting != x.Doubting {
			d.doubting, d.dirty = x.Doubting, true
		}
	})
}

// OnTransition takes a change of role, or who is master. It does not block.
func (d *Director) OnTransition(t link.Transition) {
	d.box.post(func() {
		if t.Seq <= d.roleSeq {
			return
		}
		d.roleSeq = t.Seq
		if t.Master.IsValid() {
			d.heard(t.Instance, t.Master)
			return
		}
		if d.roles[t.Instance].Since.After(t.At) {
			// Queued before this director started: the status told something newer.
			return
		}
		d.roles[t.Instance] = d.roles[t.Instance].next(t)
		d.dirty, d.rest = true, time.Time{}
		d.notify()
	})
}

// posture tells the speaker what the decision means for the election, if that
// is something new.
func (d *Director) posture() {
	p := link.Posture{Ready: d.ready, Instances: d.desired.Instances}
	if d.told != nil && reflect.DeepEqual(p, *d.told) {
		return
	}
	d.told = &p
	d.o.Speaker.SetPosture(p)
}

// takeStatus remembers what the speaker told of itself.
func (d *Director) takeStatus(st *link.Status) {
	d.status, d.statusAt = st, time.Now()
	for _, i := range st.Instances {
		if i.State == vrrp.Backup && i.MasterSource.IsValid() {
			d.heard(i.Name, i.MasterSource)
		}
		if have, ok := d.roles[i.Name]; !ok || (have.State != i.State && i.Since.After(have.Since)) {
			d.roles[i.Name] = Role{State: i.State, Since: i.Since, Was: i.State}
		}
	}
}

// do runs f in the loop and waits for it.
func (d *Director) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	d.box.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
