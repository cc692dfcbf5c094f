package director

import (
	"context"
	"maps"
	"sync"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp/link"
)

// Snapshot is the latest one; never nil after Start.
func (d *Director) Snapshot() *Snapshot { return d.snap.Load() }

// Refresh asks the speaker, the kernel and the probes again and returns the
// newest snapshot; what does not answer before ctx ends stays as it was.
func (d *Director) Refresh(ctx context.Context) *Snapshot {
	var (
		wg    sync.WaitGroup
		st    *link.Status
		stats map[ipvsctl.ServiceKey]ipvsctl.EntryStats
	)
	wg.Go(func() { st, _ = d.o.Speaker.Status(ctx) })
	if w := d.worker.Load(); w != nil {
		wg.Go(func() { stats, _ = w.kernel.Stats(ctx) })
	}
	wg.Wait()
	probes := d.o.Checks.Statuses()
	_ = d.do(ctx, func() {
		if st != nil {
			d.takeStatus(st)
		}
		if stats != nil {
			d.stats = stats
		}
		// Without an answer the last figures stand: zeros would look like a restart of every counter.
		d.snap.Store(d.build(d.stats, probes))
	})
	return d.snap.Load()
}

// build makes a snapshot of the loop's state.
func (d *Director) build(stats map[ipvsctl.ServiceKey]ipvsctl.EntryStats, probes map[health.Key]health.Status) *Snapshot {
	c := d.top.Config
	s := &Snapshot{
		At: time.Now(), Pause: d.pause, Node: c.Node, Cluster: c.Cluster, Started: d.started,
		Config: d.config, Speaker: d.status, SpeakerAt: d.statusAt, Ready: d.ready,
		Services: make([]ServiceStatus, len(d.top.Services)),
		Checks:   ChecksStatus{Distinct: len(d.top.Specs), Running: d.o.Checks.Running(), Lag: d.o.Checks.Lag(), Doubt: d.o.Checks.Doubt()},
		Kernel: KernelStatus{
			Used: d.worker.Load() != nil, Up: d.kernel.up, Error: d.kernel.err,
			Operations: maps.Clone(d.kernel.ops), Drift: maps.Clone(d.kernel.drift), Unmanaged: d.kernel.unmanaged, Contended: len(d.kernel.contended),
			LastReconcile: d.kernel.lastFull, Reconcile: d.kernel.took.Snapshot(),
		},
	}
	if d.o.Logged != nil {
		s.Logged = d.o.Logged()
	}
	for i := range d.top.Services {
		s.Services[i] = d.buildService(i, stats, probes)
	}
	d.buildSync(s)
	d.buildElection(s)
	s.Warnings = d.serviceWarnings()
	if d.status != nil {
		s.Warnings = append(s.Warnings, d.status.Warnings()...)
	}
	if d.o.Warnings != nil {
		s.Warnings = append(s.Warnings, d.o.Warnings()...)
	}
	for _, x := range d.kernel.contended {
		s.Warnings = append(s.Warnings, "somebody keeps changing the IPVS table, this is left as it is for a minute: "+x.String()+
			"; to take a server out use lvs-ha drain, and let one program alone keep the table")
	}
	if d.o.Repairs != nil {
		s.Repairs = d.o.Repairs()
	}
	if d.kernel.err != "" {
		s.Warnings = append(s.Warnings, "kernel IPVS table: "+d.kernel.err)
	}
	if !d.config.LastOK {
		s.Warnings = append(s.Warnings, "the last reload was refused: "+d.config.LastError)
	}
	return s
}

func (d *Director) buildService(i int, stats map[ipvsctl.ServiceKey]ipvsctl.EntryStats, probes map[health.Key]health.Status) ServiceStatus {
	ts := &d.top.Services[i]
	dec := d.desired.Services[i]
	key := ts.Conf.Service.Key
	held, present := d.kernel.table.Table[key]
	st := stats[key]
	out := ServiceStatus{
		Name: ts.Conf.Name, Service: ts.Conf.Service, Virtual: ts.Conf.Virtual(), VRRP: ts.Conf.VRRP, Up: dec.Up, QuorumWeight: max(1, ts.Conf.Quorum),
		HealthyWeight: dec.HealthyWeight, ConfiguredWeight: dec.ConfiguredWeight, ServingWeight: dec.ServingWeight,
		Quorum: dec.Quorum, Floor: dec.Floor, Sorry: ts.Conf.Sorry, SorryActive: dec.SorryActive,
		KernelPresent: present && held.Service == ts.Conf.Service, Counters: st.Counters,
		Servers: make([]ServerStatus, len(ts.Servers)),
	}
	if ts.Conf.Ports != nil {
		out.Ports = ts.Conf.Ports.String()
	}
	for j := range ts.Servers {
		srv := &ts.Servers[j]
		sd := &dec.Servers[j]
		r := d.records[ServerID{ts.Conf.Name, srv.Conf.Name}]
		o := ServerStatus{
			Name: srv.Conf.Name, Server: srv.Conf.Kernel, State: sd.State, Healthy: sd.Healthy, Held: sd.Held, Since: r.since,
			ConfiguredWeight: srv.Conf.Kernel.Weight, Why: sd.Why, TransitionsUp: r.up, TransitionsDown: r.down,
			Stats: st.Servers[srv.Conf.Kernel.Key], Checks: make([]CheckStatus, len(srv.Keys)),
		}
		if a, ok := d.admin[ServerID{ts.Conf.Name, srv.Conf.Name}]; ok {
			o.Admin = &a
		}
		if k, ok := held.Servers[srv.Conf.Kernel.Key]; ok {
			w := k.Weight
			o.Weight = &w
		}
		for n, k := range srv.Keys {
			p, ok := probes[k]
			if !ok {
				p = health.Status{Key: k, Spec: srv.Conf.Checks[n].Spec}
			}
			o.Checks[n] = CheckStatus{Name: srv.Conf.Checks[n].Name, Status: p}
		}
		out.Servers[j] = o
	}
	return out
}

func (d *Director) buildSync(s *Snapshot) {
	c := d.top.Config.Sync
	if c == nil {
		return
	}
	s.Sync = SyncStatus{Configured: true, Interface: c.Interface, ID: c.ID, Follow: c.Follow}
	for _, x := range d.kernel.daemons {
		s.Sync.Running = append(s.Sync.Running, x.Role)
	}
	for _, x := range d.desired.Daemons {
		s.Sync.Wanted = append(s.Sync.Wanted, x.Role)
	}
	r, known := d.roles[c.Follow]
	if !known {
		return
	}
	want := ipvsctl.RoleBackup
	if serves(r.State) {
		want = ipvsctl.RoleMaster
	}
	for _, x := range s.Sync.Running {
		if x == want {
			return
		}
	}
	s.Sync.BehindSince = r.Since
}
