package control

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// source is a director that stands still.
type source struct {
	latest  atomic.Pointer[director.Snapshot]
	refresh func(context.Context)
}

func (s *source) Snapshot() *director.Snapshot { return s.latest.Load() }

func (s *source) Refresh(ctx context.Context) *director.Snapshot {
	if s.refresh != nil {
		s.refresh(ctx)
	}
	return s.latest.Load()
}

func still(s *director.Snapshot) *source {
	src := &source{}
	src.latest.Store(s)
	return src
}

// fixture is a director with something in every field.
func fixture() *director.Snapshot {
	vip := netip.MustParsePrefix("192.0.2.10/24")
	start := time.Date(2026, 11, 17, 15, 2, 11, 123_456_789, time.FixedZone("CET", 3600))
	check := func(st health.Status) []director.CheckStatus {
		st.Spec = health.Spec{Target: netip.MustParseAddrPort("10.0.0.21:80"), Method: &health.Method{Type: health.HTTP}}
		st.Since = start
		return []director.CheckStatus{{Name: "http-ok", Status: st}}
	}
	return &director.Snapshot{
		At: start.Add(time.Hour), Node: "lb1", Cluster: "edge-fra1", Started: start, Ready: true,
		Pause:     director.Pause{On: true, By: director.Order{Owner: "bert", Reason: "surgery", Since: start}},
		Config:    director.ConfigStatus{Path: "/etc/lvs-ha/lvs-ha.toml", Hash: 0xabc, LoadedAt: start, LastOK: true},
		SpeakerAt: start.Add(time.Hour),
		Speaker: &link.Status{PID: 42, Started: start, Realtime: "rr 10", DirectorRestarts: 2, Instances: []link.InstanceStatus{
			{
				Name: "edge", Interface: "eth0", VRID: 51, Version: 3, Family: vrrp.IPv4, State: vrrp.Master,
				Reason: "no advertisement from 10.0.0.12", Since: start, Priority: 90, ConfiguredPriority: 150, Interval: time.Second,
				Source: netip.MustParseAddr("10.0.0.11"), MasterSource: netip.MustParseAddr("10.0.0.12"), MasterPriority: 100,
				LastHeard:   start.Add(-time.Minute),
				Addresses:   []link.AddressStatus{{Address: vip, Interface: "eth0", Present: true}, {Address: netip.MustParsePrefix("192.0.2.11/24"), Interface: "eth0", Excluded: true}},
				Transitions: map[string]uint64{"backup": 1, "master": 1},
				Sent:        3600, Received: 12, Dropped: map[string]uint64{"ttl": 3}, LowerPriority: 1, AddressMismatch: 8, MessageOnly: 7, ForeignClaims: 6,
				ZeroSent: 2, ZeroReceived: 3, AnnouncedARP: 30, AnnouncedNA: 6, SendErrors: 5,
				TrackUp: map[string]bool{"eth2": true, "eth1": false},
			},
			{Name: "second", Interface: "eth1", VRID: 52, Version: 3, Family: vrrp.IPv6, Mode: vrrp.Unicast, State: vrrp.Backup,
				Since: start, Priority: 100, ConfiguredPriority: 100, Interval: 100 * time.Millisecond, MasterDownIn: 250 * time.Millisecond},
		}},
		Services: []director.ServiceStatus{
			{
				Name: "web", VRRP: "edge", Up: true, QuorumWeight: 1, HealthyWeight: 10, ConfiguredWeight: 25, KernelPresent: true,
				ServingWeight: 15, Floor: director.Floor{Weight: 13, Held: 1}, SorryActive: true,
				Sorry: &ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.99"), Port: 80}, Weight: 1},
				Service: ipvsctl.Service{Scheduler: "wrr", Flags: ipvsctl.FlagPersistent, Timeout: 5 * time.Minute,
					Key: ipvsctl.ServiceKey{Protocol: ipvsctl.TCP, Addr: vip.Addr(), Port: 80, Family: 4}},
				Counters: ipvsctl.Counters{Connections: 1 << 40, InPackets: 7, OutPackets: 8, InBytes: 900, OutBytes: 1000, CPS: 412},
				Servers: []director.ServerStatus{
					{Name: "web1", State: director.ServerUp, Healthy: true, Since: start, ConfiguredWeight: 10, Weight: new(uint32(10)),
						Server:        ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.21"), Port: 80}, Forward: ipvsctl.Direct, Weight: 10},
						TransitionsUp: 1, TransitionsDown: 2,
						Stats: ipvsctl.ServerStats{Counters: ipvsctl.Counters{Connections: 5, InPackets: 6, OutPackets: 7, InBytes: 8, OutBytes: 9},
							Active: 3, Inactive: 2, Persistent: 1},
						Checks: check(health.Status{State: health.Up, Streak: 3, OK: 100, LastAt: start, LastTook: 2500 * time.Microsecond,
							Failed: map[health.Reason]uint64{health.ReasonTimeout: 2}})},
					{Name: "web2", State: director.ServerDown, Since: start, ConfiguredWeight: 10, Weight: new(uint32(0)),
						Why:    "check http-ok: connection refused",
						Server: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.22"), Port: 80}, Forward: ipvsctl.Tunnel, Weight: 10},
						Checks: check(health.Status{State: health.Down, Streak: -7, LastAt: start, LastTook: 400 * time.Microsecond,
							Failed:      map[health.Reason]uint64{health.ReasonRefused: 7},
							LastFailure: &health.Failure{Reason: health.ReasonRefused, Detail: "connection refused"}})},
					{Name: "web4", State: director.ServerDrain, Healthy: true, ConfiguredWeight: 5, Why: "drained by anna until 2026-11-17 16:02 UTC: kernel update",
						Server: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.24"), Port: 80}, Forward: ipvsctl.NAT, Weight: 5},
						Weight: new(uint32(0)), Checks: check(health.Status{State: health.Up}), Stats: ipvsctl.ServerStats{Active: 7, Persistent: 1}, Held: true,
						Admin: &director.Admin{Mode: director.AdminDrain, ModeBy: director.Order{Owner: "anna", Reason: "kernel update", Since: start, Expires: start.Add(2 * time.Hour)},
							Weight: new(uint32(3)), WeightBy: director.Order{Owner: "bert", Since: start, Force: true}}},
					{Name: "web3", State: director.ServerMaintenance, ConfiguredWeight: 5, Why: "disabled in the configuration",
						Server: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("2001:db8::23"), Port: 80}, Forward: ipvsctl.NAT, Weight: 5},
						Checks: check(health.Status{})},
				},
			},
			{Name: "ftp", Service: ipvsctl.Service{Scheduler: "rr", Key: ipvsctl.ServiceKey{FWMark: 21, Family: 6}}},
			{Name: "voice", Service: ipvsctl.Service{Scheduler: "sh", Key: ipvsctl.ServiceKey{FWMark: 0x4c560001, Family: 4}}, Ports: "5060, 10000-20000",
				Virtual: ipvsctl.ServiceKey{Protocol: ipvsctl.UDP, Addr: netip.MustParseAddr("192.0.2.12"), Family: 4}},
		},
		Kernel: director.KernelStatus{Used: true, Up: true, Unmanaged: 4, Contended: 2, LastReconcile: start,
			Operations: map[director.OperationResult]uint64{{Operation: "add_service", Result: "ok"}: 2, {Operation: "add_server", Result: "ok"}: 4, {Operation: "add_server", Result: "error"}: 1},
			Drift:      map[string]uint64{"weight": 1}},
		Sync: director.SyncStatus{Configured: true, Interface: "eth1", ID: 51, Follow: "edge", Running: []ipvsctl.Role{ipvsctl.RoleBackup},
			Wanted: []ipvsctl.Role{ipvsctl.RoleMaster}, BehindSince: start},
		Checks:   director.ChecksStatus{Distinct: 3, Running: 1},
		Warnings: []string{"something that only the director knows"},
	}
}
