package control

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// NewDocument says in JSON's terms what the snapshot says. It is pure.
func NewDocument(s *director.Snapshot, version string) *Document {
	d := &Document{
		Schema: Schema, Node: s.Node, Cluster: s.Cluster, Time: utc(s.At), Version: version, Started: utc(s.Started), Ready: s.Ready,
		Paused: newPause(s.Pause),
		Config: Config{
			Path: s.Config.Path, Hash: fmt.Sprintf("%016x", s.Config.Hash), LoadedAt: when(s.Config.LoadedAt),
			LastOK: s.Config.LastOK, LastError: s.Config.LastError,
		},
		VRRP: []VRRP{}, Services: make([]Service, 0, len(s.Services)),
		Kernel: newKernel(&s.Kernel),
		Checks: Checks{Distinct: s.Checks.Distinct, Running: s.Checks.Running},
	}
	if s.Speaker != nil {
		d.Speaker = &Speaker{PID: s.Speaker.PID, Started: utc(s.Speaker.Started), AsOf: utc(s.SpeakerAt), Realtime: s.Speaker.Realtime,
			DirectorRestarts: s.Speaker.DirectorRestarts}
		for i := range s.Speaker.Instances {
			d.VRRP = append(d.VRRP, newVRRP(&s.Speaker.Instances[i]))
		}
	}
	for i := range s.Services {
		d.Services = append(d.Services, newService(&s.Services[i]))
	}
	if s.Sync.Configured {
		d.Sync = &Sync{Interface: s.Sync.Interface, ID: int(s.Sync.ID), Follow: s.Sync.Follow, Running: roles(s.Sync.Running),
			Wanted: roles(s.Sync.Wanted), BehindSince: when(s.Sync.BehindSince)}
	}
	warnings := s.Warnings
	if w := doubting(s.Checks.Doubt); w != "" {
		warnings = append([]string{w}, warnings...)
	}
	d.assess(warnings)
	return d
}

// doubting tells why the priorities are lower than configured while this
// machine distrusts its probes (docs/checks.md, Self-doubt); "" if it does not.
func doubting(x health.Doubt) string {
	if !x.Doubting {
		return ""
	}
	why := map[health.DoubtReason]string{
		health.DoubtLate:   "its probes start late: look for what takes the processor",
		health.DoubtLocal:  "its probes fail by its own fault: descriptors, ports, routes",
		health.DoubtCanary: "most servers fail, and its own loopback too",
	}[x.Why]
	return fmt.Sprintf("this director doubts itself, every priority is lower by %d (%s)", -director.DoubtDelta, why)
}

func newVRRP(i *link.InstanceStatus) VRRP {
	v := VRRP{
		Name: i.Name, Interface: i.Interface, VRID: int(i.VRID), Version: int(i.Version), Family: family(uint8(i.Family)), Mode: "multicast",
		State: i.State.String(), Reason: i.Reason, Since: when(i.Since), Priority: int(i.Priority),
		ConfiguredPriority: int(i.ConfiguredPriority), AdvertInterval: i.Interval.Seconds(),
		Source: addr(i.Source), MasterSource: addr(i.MasterSource), LastHeard: when(i.LastHeard),
		Addresses: make([]Address, 0, len(i.Addresses)), Tracks: make([]Track, 0, len(i.TrackUp)),
		Transitions: make(map[string]uint64, len(vrrp.States)), Dropped: notNil(i.Dropped),
		Sent: i.Sent, Received: i.Received, LowerPriority: i.LowerPriority, AddressMismatch: i.AddressMismatch, MessageOnly: i.MessageOnly, ForeignClaims: i.ForeignClaims,
		ZeroSent: i.ZeroSent, ZeroReceived: i.ZeroReceived,
		AnnouncedARP: i.AnnouncedARP, AnnouncedNA: i.AnnouncedNA, SendErrors: i.SendErrors,
	}
	if i.Mode == vrrp.Unicast {
		v.Mode = "unicast"
	}
	if i.MasterSource.IsValid() {
		v.MasterPriority = new(int(i.MasterPriority))
	}
	if i.State == vrrp.Backup {
		v.MasterDownIn = new(i.MasterDownIn.Seconds())
	}
	for _, a := range i.Addresses {
		v.Addresses = append(v.Addresses, Address{Address: a.Address.String(), Interface: a.Interface, Present: a.Present, Excluded: a.Excluded})
	}
	for _, name := range slices.Sorted(maps.Keys(i.TrackUp)) {
		v.Tracks = append(v.Tracks, Track{Name: name, Up: i.TrackUp[name]})
	}
	for _, st := range vrrp.States {
		v.Transitions[st.String()] = i.Transitions[st.String()]
	}
	return v
}

func newService(s *director.ServiceStatus) Service {
	k := s.Service.Key
	v := Service{
		Name: s.Name, Up: s.Up, Family: family(k.Family), Scheduler: s.Service.Scheduler, Persistence: s.Service.Timeout.Seconds(),
		QuorumWeight: s.QuorumWeight, HealthyWeight: s.HealthyWeight, ConfiguredWeight: s.ConfiguredWeight, ServingWeight: s.ServingWeight,
		FloorWeight: s.Floor.Weight, FloorHeld: s.Floor.Held, FloorShort: s.Floor.Short, SorryActive: s.SorryActive,
		KernelPresent: s.KernelPresent, Counters: newCounters(s.Counters), Servers: make([]RealServer, 0, len(s.Servers)),
	}
	if k.FWMark != 0 {
		v.FWMark = new(k.FWMark)
	}
	switch {
	case s.Ports != "":
		v.Address, v.Ports, v.Protocol = addr(s.Virtual.Addr), new(s.Ports), new(s.Virtual.Protocol.String())
	case k.FWMark == 0:
		v.Address, v.Port, v.Protocol = addr(k.Addr), new(int(k.Port)), new(k.Protocol.String())
	}
	if s.VRRP != "" {
		v.VRRP = new(s.VRRP)
	}
	if s.Sorry != nil {
		v.Sorry = new(netip.AddrPortFrom(s.Sorry.Key.Addr, s.Sorry.Key.Port).String())
	}
	for i := range s.Servers {
		v.Servers = append(v.Servers, newServer(&s.Servers[i]))
	}
	v.State = serviceState(s)
	return v
}

// serviceState: a service is degraded while it runs without a server that
// nobody took out on purpose.
func serviceState(s *director.ServiceStatus) string {
	pending, down := false, false
	for i := range s.Servers {
		switch s.Servers[i].State {
		case director.ServerPending:
			pending = true
		case director.ServerDown:
			down = true
		case director.ServerUp, director.ServerDrain, director.ServerMaintenance:
		}
	}
	switch {
	case !s.Up && pending:
		return StatePending
	case !s.Up:
		return StateDown
	case down, s.Floor.Held > 0:
		return StateDegraded
	}
	return StateOK
}

func newServer(r *director.ServerStatus) RealServer {
	v := RealServer{
		Name: r.Name, Address: r.Server.Key.Addr.String(), Port: int(r.Server.Key.Port), Forward: r.Server.Forward.String(),
		State: string(r.State), Healthy: r.Healthy, Why: r.Why, Held: r.Held, Admin: newAdmin(r.Admin), Since: when(r.Since), Weight: r.Weight, ConfiguredWeight: r.ConfiguredWeight,
		TransitionsUp: r.TransitionsUp, TransitionsDown: r.TransitionsDown,
		Active: r.Stats.Active, Inactive: r.Stats.Inactive, Persistent: r.Stats.Persistent,
		Counters: newCounters(r.Stats.Counters), Checks: make([]Check, 0, len(r.Checks)),
	}
	for i := range r.Checks {
		v.Checks = append(v.Checks, newCheck(&r.Checks[i]))
	}
	return v
}

func newCheck(c *director.CheckStatus) Check {
	st := &c.Status
	v := Check{
		Name: c.Name, Type: string(st.Spec.Type), Target: st.Spec.Target.String(), State: st.State.String(), Since: when(st.Since),
		Streak: st.Streak, OK: st.OK, Failed: make(map[string]uint64, len(st.Failed)), LastAt: when(st.LastAt),
	}
	for reason, n := range st.Failed {
		v.Failed[string(reason)] = n
	}
	if !st.LastAt.IsZero() {
		v.LastDuration = new(st.LastTook.Seconds())
	}
	if f := st.LastFailure; f != nil {
		v.LastFailure = &Failure{Reason: string(f.Reason), Detail: f.Detail}
	}
	return v
}

func newKernel(k *director.KernelStatus) Kernel {
	v := Kernel{Used: k.Used, Up: k.Up, Error: k.Error, Unmanaged: k.Unmanaged, Contended: k.Contended, LastReconcile: when(k.LastReconcile),
		Operations: make([]Operation, 0, len(k.Operations)), Drift: notNil(k.Drift)}
	for o, n := range k.Operations {
		v.Operations = append(v.Operations, Operation{Operation: o.Operation, Result: o.Result, Count: n})
	}
	slices.SortFunc(v.Operations, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Result, b.Result))
	})
	return v
}

func newCounters(c ipvsctl.Counters) Counters {
	return Counters{Connections: c.Connections, IncomingPackets: c.InPackets, OutgoingPackets: c.OutPackets, IncomingBytes: c.InBytes,
		OutgoingBytes: c.OutBytes, ConnectionRate: c.CPS}
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(utc(t))
}

func addr(a netip.Addr) *string {
	if !a.IsValid() {
		return nil
	}
	return new(a.String())
}

func family(n uint8) string {
	if n == 6 {
		return "ipv6"
	}
	return "ipv4"
}

func roles(list []ipvsctl.Role) []string {
	names := make([]string, 0, len(list))
	for _, r := range list {
		names = append(names, r.String())
	}
	return names
}

func notNil(m map[string]uint64) map[string]uint64 {
	if m == nil {
		return map[string]uint64{}
	}
	return m
}
