package director

import (
	"context"
	"errors"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// Reload reads the configuration again. All or nothing: on an error the old
// configuration stays in force and the kernel was not touched.
func (d *Director) Reload(ctx context.Context) error {
	d.reload.Lock()
	defer d.reload.Unlock()
	c, err := d.o.Load()
	var acc Prepared
	top := make(chan *Topology, 1)
	if err == nil {
		go func() { top <- NewTopology(c) }() // while the speaker answers
		acc, err = d.prepare(ctx, c)
	}
	if err != nil {
		d.o.Log.Error("reload refused, the old configuration stays", "event", "reload_failed", "err", err)
		return errors.Join(err, d.do(ctx, func() { d.config.LastOK, d.config.LastError = false, err.Error() }))
	}
	next := <-top
	return d.do(ctx, func() {
		old := d.top
		acc.Commit()
		d.accept(c, next)
		d.decideAll()
		d.prune(old)
		d.settle()
	})
}

// prepare does all of a configuration that can be refused: the kernel handle,
// listeners, the speaker, in that order, so that the last step can still be undone.
func (d *Director) prepare(ctx context.Context, c *conf.Config) (Prepared, error) {
	var opened *kernelWorker
	if c.UsesIPVS() && d.worker.Load() == nil {
		k, err := d.o.OpenKernel()
		if err != nil {
			return Prepared{}, err
		}
		opened = newKernelWorker(k, d.o.Log, func(r kernelResult) { d.box.post(func() { d.kernelReport(r) }) })
		d.worker.Store(opened)
	}
	undo := func() {
		if opened != nil {
			d.worker.Store(nil)
			_ = opened.kernel.Close()
		}
	}
	p := Prepared{Commit: func() {}, Abandon: func() {}}
	if d.o.Prepare != nil {
		var err error
		if p, err = d.o.Prepare(c); err != nil {
			undo()
			return Prepared{}, err
		}
	}
	err := d.o.Speaker.Configure(ctx, link.Configure{
		Instances: c.VRRP, Realtime: c.Process.Realtime, LogLevel: c.Log.Level, LogFormat: c.Log.Format,
	})
	if err != nil {
		p.Abandon()
		undo()
		return Prepared{}, err
	}
	commit := p.Commit
	p.Commit = func() {
		commit()
		// A worker opened by a reload starts here; the first one starts with Run.
		if opened != nil && d.top != nil {
			d.startWorker(d.runCtx, opened)
		}
	}
	abandon := p.Abandon
	p.Abandon = func() { abandon(); undo() }
	return p, nil
}

// accept puts a configuration into force.
func (d *Director) accept(c *conf.Config, top *Topology) {
	old := d.top
	d.top, d.accepted = top, time.Now()
	d.touched = touched{all: true}
	d.config = ConfigStatus{Path: c.Path, Hash: c.Hash, LoadedAt: d.accepted, LastOK: true}
	d.claim()
	d.inherit(old)
	instances := make(map[string]bool, len(c.VRRP))
	for i := range c.VRRP {
		instances[c.VRRP[i].Name] = true
	}
	for name := range d.roles {
		if !instances[name] {
			delete(d.roles, name)
		}
	}
	for i := range c.VRRP {
		if _, ok := d.roles[c.VRRP[i].Name]; !ok {
			d.roles[c.VRRP[i].Name] = Role{State: vrrp.Init, Was: vrrp.Init, Since: time.Now()}
		}
	}
	if w := d.worker.Load(); w != nil {
		w.setInterval(c.IPVS.ReconcileInterval)
	}
}

// settle does what a new configuration brings beside the kernel's table, which
// does not wait for it.
func (d *Director) settle() {
	c := d.top.Config
	d.o.Checks.Apply(d.top.Specs)
	if d.o.Accepted != nil {
		d.o.Accepted(c)
	}
	d.o.Log.Info("configuration accepted", "event", "config_accepted", "file", c.Path, "node", c.Node,
		"vrrp_instances", len(c.VRRP), "services", len(c.Services), "checks", len(d.top.Specs))
}

// inherit gives a check that is new to a known server the verdict that the
// server had, until its own first result.
func (d *Director) inherit(old *Topology) {
	if old == nil {
		return
	}
	type heir struct {
		key health.Key
		v   Verdict
	}
	var heirs []heir
	state := State{Verdicts: d.verdicts}
	for i := range d.top.Services {
		ts := &d.top.Services[i]
		for j := range ts.Servers {
			for _, k := range ts.Servers[j].Keys {
				if _, judged := d.verdicts[k]; judged || !d.top.Probes(k) {
					continue
				}
				was := old.server(ts.Conf.Name, ts.Servers[j].Conf.Name, j)
				// A name that moved to another machine inherits nothing.
				if was == nil || was.Conf.Kernel.Key != ts.Servers[j].Conf.Kernel.Key || len(was.Keys) == 0 {
					continue
				}
				if v, _ := combine(&state, was); v.State != health.Unknown {
					heirs = append(heirs, heir{k, v})
				}
			}
		}
	}
	for _, h := range heirs {
		if _, judged := d.verdicts[h.key]; !judged {
			d.verdicts[h.key] = h.v
		}
	}
}

// prune forgets what the configuration no longer names.
func (d *Director) prune(old *Topology) {
	for k := range d.verdicts {
		if !d.top.Probes(k) {
			delete(d.verdicts, k)
		}
	}
	for i := range old.Services {
		svc := &old.Services[i]
		for j := range svc.Servers {
			if name := svc.Servers[j].Conf.Name; d.top.server(svc.Conf.Name, name, j) == nil {
				delete(d.records, ServerID{svc.Conf.Name, name})
			}
		}
		if _, named := d.top.named[svc.Conf.Name]; !named {
			delete(d.quorum, svc.Conf.Name)
			delete(d.services, svc.Conf.Name)
		}
	}
}
