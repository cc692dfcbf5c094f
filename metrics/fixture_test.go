package metrics

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"lvs-ha/health"
	"lvs-ha/internal/director"
	"lvs-ha/internal/histogram"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

var testBuild = Build{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26"}

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

func weight(w uint32) *uint32 { return &w }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// durations makes a histogram of the given observations in seconds.
func durations(obs ...float64) histogram.Snapshot {
	h := histogram.New(.001, .01, .1)
	for _, o := range obs {
		h.Observe(o)
	}
	return h.Snapshot()
}

// fixture is a director with something in every field.
func fixture() *director.Snapshot {
	vip := netip.MustParsePrefix("192.0.2.10/24")
	start := at("2026-11-17T14:02:11Z")
	check := func(ok uint64, failed map[health.Reason]uint64, seen histogram.Snapshot) []director.CheckStatus {
		return []director.CheckStatus{{Name: "http-ok", Status: health.Status{
			Key: "k", State: health.Up, Since: start, Streak: 3, OK: ok, Failed: failed,
			LastAt: start, LastTook: 2500 * time.Microsecond, Duration: seen, NotAfter: at("2027-01-01T00:00:00Z"),
			Spec: health.Spec{Method: &health.Method{Hold: true}}, Hold: health.HoldStatus{Closes: 4},
		}}}
	}
	return &director.Snapshot{
		At: start.Add(time.Hour), Node: "lb1", Cluster: "edge-fra1", Started: start, Ready: true, Pause: director.Pause{On: true},
		Config:    director.ConfigStatus{Path: "/etc/lvs-ha/lvs-ha.toml", Hash: 0xffff_ffff_ffff_ffff, LoadedAt: start, LastOK: true},
		SpeakerAt: start.Add(time.Hour),
		Speaker: &link.Status{
			PID: 42, Started: start, Realtime: "rr 10", DirectorRestarts: 2, Lag: durations(.0001, .5),
			Logged: map[string]uint64{"info": 4, "warn": 1, "dropped": 9},
			Instances: []link.InstanceStatus{{
				Name: "edge", Interface: "eth0", VRID: 51, Version: 3, Family: vrrp.IPv4, Mode: vrrp.Unicast, State: vrrp.Master,
				Reason: "no advertisement from 10.0.0.12", Since: start, Priority: 90, ConfiguredPriority: 150, Interval: time.Second,
				Source: netip.MustParseAddr("10.0.0.11"), LastHeard: start.Add(-time.Minute),
				Addresses:   []link.AddressStatus{{Address: vip, Interface: "eth0", Present: true}, {Address: netip.MustParsePrefix("2001:db8::10/128"), Interface: "eth0"}},
				Transitions: map[string]uint64{"backup": 1, "master": 1},
				Sent:        3600, Received: 12, Dropped: map[string]uint64{"ttl": 3, "<script>": 1}, LowerPriority: 1, AddressMismatch: 8, MessageOnly: 7, ForeignClaims: 6,
				ZeroSent: 2, ZeroReceived: 3, AnnouncedARP: 30, AnnouncedNA: 6, SendErrors: 5,
				TrackUp: map[string]bool{"eth1": false},
			}},
		},
		Services: []director.ServiceStatus{
			{
				Name: "web", VRRP: "edge", Up: true, QuorumWeight: 1, HealthyWeight: 10, ConfiguredWeight: 25, KernelPresent: true,
				ServingWeight: 20, Floor: director.Floor{Weight: 21, Held: 1, Short: true}, SorryActive: true,
				Service: ipvsctl.Service{Scheduler: "wrr", Key: ipvsctl.ServiceKey{Protocol: ipvsctl.TCP, Addr: vip.Addr(), Port: 80, Family: 4}},
				Counters: ipvsctl.Counters{Connections: 1 << 40, InPackets: 7, OutPackets: 8, InBytes: 900, OutBytes: 1000,
					CPS: 412},
				Servers: []director.ServerStatus{
					{Name: "web1", State: director.ServerUp, Healthy: true, Since: start, ConfiguredWeight: 10, Weight: weight(10),
						Server:        ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.21"), Port: 80}, Forward: ipvsctl.Direct, Weight: 10},
						TransitionsUp: 1, TransitionsDown: 2,
						Stats:  ipvsctl.ServerStats{Counters: ipvsctl.Counters{Connections: 5, InPackets: 6, OutPackets: 7, InBytes: 8, OutBytes: 9}, Active: 3, Inactive: 2, Persistent: 1},
						Checks: check(100, map[health.Reason]uint64{health.ReasonTimeout: 2, health.ReasonInternal: 1}, durations(.002, .05))},
					{Name: "web2", State: director.ServerDown, Held: true, Since: start, ConfiguredWeight: 10, Weight: weight(0),
						Server: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("10.0.0.22"), Port: 80}, Forward: ipvsctl.Tunnel, Weight: 10},
						Checks: check(0, map[health.Reason]uint64{health.ReasonRefused: 7}, durations(.0002))},
					{Name: "web3", State: director.ServerMaintenance, ConfiguredWeight: 5,
						Server: ipvsctl.Server{Key: ipvsctl.ServerKey{Addr: netip.MustParseAddr("2001:db8::23"), Port: 80}, Forward: ipvsctl.NAT, Weight: 5},
						Checks: check(0, nil, histogram.Snapshot{})},
				},
			},
			{Name: "ftp", Service: ipvsctl.Service{Scheduler: "rr", Key: ipvsctl.ServiceKey{FWMark: 21, Family: 4}}},
			{Name: "voice", Service: ipvsctl.Service{Scheduler: "sh", Key: ipvsctl.ServiceKey{FWMark: 0x4c560001, Family: 4}}, Ports: "5060, 10000-20000",
				Virtual: ipvsctl.ServiceKey{Protocol: ipvsctl.UDP, Addr: netip.MustParseAddr("192.0.2.12"), Family: 4}},
		},
		Kernel: director.KernelStatus{Used: true, Up: true, Unmanaged: 4, Contended: 2, LastReconcile: start, Reconcile: durations(.002),
			Operations: map[director.OperationResult]uint64{{Operation: "add_service", Result: "ok"}: 2, {Operation: "odd\xff", Result: "ok"}: 1},
			Drift:      map[string]uint64{"weight": 1}},
		Sync: director.SyncStatus{Configured: true, Interface: "eth1", ID: 51, Follow: "edge", Running: []ipvsctl.Role{ipvsctl.RoleBackup},
			Wanted: []ipvsctl.Role{ipvsctl.RoleMaster}, BehindSince: start},
		Tracks:     []director.TrackStatus{{Instance: "edge", Name: "service/web", Up: true}, {Instance: "edge", Name: "check/uplink"}},
		Repairs:    map[string]uint64{"sysctl": 3},
		NotifyRuns: map[director.NotifyRun]uint64{{Hook: "edge", Result: "ok"}: 4, {Hook: "edge", Result: "fail"}: 0, {Hook: "edge", Result: "timeout"}: 1},
		Checks:     director.ChecksStatus{Distinct: 3, Running: 1, Lag: durations(.002), Doubt: health.Doubt{Doubting: true, Why: health.DoubtLocal, Held: 2}},
		Logged:     map[string]uint64{"info": 10, "error": 1},
	}
}

// large makes a snapshot of n servers with one check each, 20 in a service.
func large(n int) *director.Snapshot {
	s := fixture()
	web := s.Services[0]
	s.Services = nil
	for i := 0; i < n; i += 20 {
		v := web
		v.Name = fmt.Sprintf("service-%d", i)
		v.Servers = nil
		for j := range 20 {
			r := web.Servers[0]
			r.Name = fmt.Sprintf("server-%d", j)
			v.Servers = append(v.Servers, r)
		}
		s.Services = append(s.Services, v)
	}
	return s
}
