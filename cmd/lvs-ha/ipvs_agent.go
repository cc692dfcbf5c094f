package main

import (
	"context"
	"log/slog"
	"sync/atomic"

	"lvs-ha/conf"
	"lvs-ha/internal/control"
	"lvs-ha/ipvsctl"
)

// agentIPVS makes the changes of "lvs-ha ipvs" in the running agent, over a
// handle of its own: what the configuration names is never part of them.
type agentIPVS struct {
	open   func() (ipvsctl.Kernel, error)
	config atomic.Pointer[conf.Config] // in force
	log    *slog.Logger
}

func (a *agentIPVS) change(ctx context.Context, q control.IPVSChange) (control.IPVSResult, error) {
	c := a.config.Load()
	if c == nil {
		return control.IPVSResult{}, refuse("ask again", "the agent is starting")
	}
	r, err := ipvsWriter{open: a.open, managed: managedBy(c)}.change(ctx, q)
	if len(r.Changes) > 0 && !q.DryRun {
		a.log.Info("the kernel's table was changed by hand", "event", "ipvs_by_hand", "kind", string(q.Kind), "changes", len(r.Changes), "first", r.Changes[0])
	}
	return r, err
}

// managedBy is what follows the configuration.
func managedBy(c *conf.Config) *ipvsManaged {
	m := &ipvsManaged{services: make(map[ipvsctl.ServiceKey]string, len(c.Services)), timeouts: c.IPVS.Timeouts}
	for i := range c.Services {
		m.services[c.Services[i].Service.Key] = c.Services[i].Name
	}
	return m
}
