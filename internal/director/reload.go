package director

import (
	"context"
	"errors"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
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
	if err == nil {
		acc, err = d.prepare(ctx, c)
	}
	if err != nil {
		d.o.Log.Error("reload refused, the old configuration stays", "event", "reload_failed", "err", err)
		return errors.Join(err, d.do(ctx, func() { d.config.LastOK, d.config.LastError = false, err.Error() }))
	}
	top := NewTopology(c)
	return d.do(ctx, func() {
		acc.Commit()
		d.accept(c, top)
		d.decideAll()
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
	for k := range d.verdicts {
		if !top.Probes(k) {
			delete(d.verdicts, k)
		}
	}
	d.o.Checks.Apply(top.Specs)
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
	d.prune()
	if w := d.worker.Load(); w != nil {
		w.setInterval(c.IPVS.ReconcileInterval)
	}
	if d.o.Accepted != nil {
		d.o.Accepted(c)
	}
	d.o.Log.Info("configuration accepted", "event", "config_accepted", "file", c.Path, "node", c.Node,
		"vrrp_instances", len(c.VRRP), "services", len(c.Services), "checks", len(top.Specs))
}

// inherit gives a check that is new to a known server the verdict that the
// server had, until its own first result.
func (d *Director) inherit(old *Topology) {
	if old == nil {
		return
	}
	state := State{Verdicts: d.verdicts}
	type place struct {
		id  ServerID
		key ipvsctl.ServerKey // a name that moved to another machine inherits nothing
	}
	had := map[place]Verdict{}
	for i := range old.Services {
		for j := range old.Services[i].Servers {
			srv := &old.Services[i].Servers[j]
			if v, _ := combine(&state, srv); v.State != health.Unknown && len(srv.Keys) > 0 {
				had[place{ServerID{old.Services[i].Conf.Name, srv.Conf.Name}, srv.Conf.Kernel.Key}] = v
			}
		}
	}
	for i := range d.top.Services {
		for j := range d.top.Services[i].Servers {
			srv := &d.top.Services[i].Servers[j]
			v, ok := had[place{ServerID{d.top.Services[i].Conf.Name, srv.Conf.Name}, srv.Conf.Kernel.Key}]
			if !ok {
				continue
			}
			for _, k := range srv.Keys {
				if _, judged := d.verdicts[k]; !judged && d.top.Probes(k) {
					d.verdicts[k] = v
				}
			}
		}
	}
}
