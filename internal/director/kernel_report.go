package director

import (
	"maps"
	"time"

	"lvs-ha/conf"
	"lvs-ha/internal/histogram"
	"lvs-ha/ipvsctl"
)

// kernelState sums up what the worker reported.
type kernelState struct {
	up        bool
	err       string
	applied   uint64 // latest goal that was applied completely
	table     kernelTable
	daemons   []ipvsctl.Daemon
	ops       map[OperationResult]uint64
	drift     map[string]uint64
	contended []ipvsctl.Drift
	unmanaged int
	paused    bool // the latest report was of a pause
	lastFull  time.Time
	took      *histogram.Histogram
}

// kernelTable is what the kernel holds as far as the director knows. It
// follows the changes that the worker made, for only some reports hold a whole
// table.
type kernelTable struct {
	ipvsctl.Table
	// ours are the services whose maps are not shared with the worker.
	ours map[ipvsctl.ServiceKey]bool
}

// take replaces it. The entries of the table are never changed, the map itself
// is ours from now on.
func (t *kernelTable) take(table ipvsctl.Table) {
	t.Table, t.ours = table, map[ipvsctl.ServiceKey]bool{}
}

// follow a change that was done.
func (t *kernelTable) follow(o ipvsctl.Op) {
	switch o.Kind {
	case ipvsctl.StartDaemon, ipvsctl.StopDaemon, ipvsctl.SetTimeouts:
		return
	case ipvsctl.AddService, ipvsctl.SetService, ipvsctl.DeleteService, ipvsctl.AddServer, ipvsctl.SetServer, ipvsctl.DeleteServer:
	}
	if t.Table == nil {
		t.take(ipvsctl.Table{})
	}
	k := o.Service.Key
	if e, ok := t.Table[k]; ok && !t.ours[k] && o.Kind != ipvsctl.DeleteService {
		t.Table[k] = e.Clone()
	}
	t.ours[k] = true
	t.Patch(o)
}

// kernelReport takes the result of a pass of the worker.
func (d *Director) kernelReport(r kernelResult) {
	k := &d.kernel
	d.tellRemoved(r.report.Done)
	for _, op := range r.report.Done {
		k.ops[OperationResult{op.Kind.String(), "ok"}]++
	}
	for _, f := range r.report.Failed {
		k.ops[OperationResult{f.Op.Kind.String(), "error"}]++
	}
	for _, x := range r.report.Drift {
		k.drift[x.Kind]++
	}
	d.learn(&r.report)
	if r.paused || k.paused {
		// Whatever was changed meanwhile, it is not told service by service.
		d.touched.all, k.paused = true, r.paused
	}
	if r.err != nil {
		k.up, k.err = false, r.err.Error()
		return
	}
	k.up, k.err = true, ""
	k.daemons, k.contended = r.report.Daemons, r.report.Contended
	if r.paused {
		// Nothing was written, and nothing is waited for.
		k.applied = r.seq
		return
	}
	if r.full {
		if n := r.report.Unmanaged; n != k.unmanaged && d.top.Config.IPVS.Unmanaged == conf.UnmanagedWarn {
			d.o.Log.Warn("the kernel's table holds services that no configuration of ours has named; they are left alone", "event", "unmanaged_services", "services", n)
		}
		k.lastFull, k.unmanaged = r.at, r.report.Unmanaged
		k.took.Observe(r.report.Took.Seconds())
	}
	if len(r.report.Failed) == 0 {
		k.applied = r.seq
		d.forget()
	}
}

// learn what the kernel holds now. It is no reason to decide, but the services
// that it concerns are decided on again with the next decision.
func (d *Director) learn(r *ipvsctl.Report) {
	t := &d.kernel.table
	for _, op := range r.Done {
		if r.Table == nil {
			t.follow(op)
		}
		d.touchKernel(op.Service.Key)
	}
	if r.Table == nil {
		return
	}
	t.take(r.Table)
	for _, k := range r.Changed {
		d.touchKernel(k)
	}
}

// touchKernel notes that the kernel holds something else of a service.
func (d *Director) touchKernel(k ipvsctl.ServiceKey) {
	if i, ok := d.top.keyed[k]; ok {
		d.touchServer(serverAt{int32(i), onlyKernel})
	}
}

// claim makes the configured services ours.
func (d *Director) claim() {
	owned := maps.Clone(d.owned)
	for k := range d.top.keyed {
		owned[k] = true
	}
	d.owned = owned
	d.saveOwned()
}

// forget drops the claim to services that are gone from the configuration and
// from the kernel.
func (d *Director) forget() {
	if len(d.owned) == len(d.top.keyed) { // which are among them
		return
	}
	owned := maps.Clone(d.owned)
	for k := range owned {
		_, named := d.top.keyed[k]
		if _, there := d.kernel.table.Table[k]; !there && !named {
			delete(owned, k)
		}
	}
	if len(owned) != len(d.owned) {
		d.owned = owned
	}
	d.saveOwned()
}

func (d *Director) saveOwned() {
	if maps.Equal(d.owned, d.ownedSave) {
		return
	}
	if err := saveOwned(d.o.StateDir, d.owned); err != nil {
		d.o.Log.Warn("cannot save the list of our services; one that leaves the configuration while the agent is stopped will stay in the kernel", "event", "state_unwritable", "err", err)
		return
	}
	d.ownedSave = d.owned
}
