package conf

import (
	"net/netip"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp"
)

// Config is the whole configuration as one node sees it: defaults merged,
// overrides of this node applied, every reference resolved. It is immutable.
type Config struct {
	Path    string // of the file it came from
	Cluster string
	Node    string // the node this is for
	Nodes   []Node // in the order of the file
	// Hash of the file's meaning before per-node overrides: equal on directors
	// with the same file. 53 bits, so that it is exact as a metric.
	Hash     uint64
	Process  Process
	VRRP     []vrrp.Instance // sorted by name
	Duties   []Duties        // parallel to VRRP
	Sync     *Sync           // nil without [sync]
	IPVS     IPVS
	HTTP     HTTP
	Log      Log
	Services []Service // in the order of the file
}

// UsesIPVS tells whether the agent has anything to do in the kernel's IPVS:
// its own services, the sync daemon, or services of others to look after.
func (c *Config) UsesIPVS() bool {
	return len(c.Services) > 0 || c.Sync != nil || c.IPVS.Unmanaged == UnmanagedWarn || c.IPVS.Unmanaged == UnmanagedRemove
}

// Node is one director of the cluster.
type Node struct {
	Name    string
	Address netip.Addr // invalid if not given
}

// Process settings.
type Process struct {
	// Realtime: -1 off, 0 automatic, 1..99 a SCHED_RR priority.
	Realtime int
}

// Sync configures the kernel's connection synchronisation daemon.
type Sync struct {
	Interface string
	ID        uint8
	// Follow names the VRRP instance whose role the daemon takes.
	Follow string
	// MaxLen of a message in octets, multicast Group, its UDP Port and TTL; zero values for the kernel's defaults.
	MaxLen uint16
	Group  netip.Addr
	Port   uint16
	TTL    uint8
}

// OnStop says what becomes of our table entries at an orderly stop.
type OnStop string

const (
	StopKeep   OnStop = "keep"
	StopRemove OnStop = "remove"
)

// Unmanaged says what is done about services in the kernel that no
// configuration of ours names or has named.
type Unmanaged string

const (
	UnmanagedIgnore Unmanaged = "ignore"
	UnmanagedWarn   Unmanaged = "warn"   // a log line when their number changes
	UnmanagedRemove Unmanaged = "remove" // they go, from the second comparison on
)

// IPVS settings.
type IPVS struct {
	Adopt             bool
	Unmanaged         Unmanaged
	OnStop            OnStop
	ReconcileInterval time.Duration
	// Stragglers: at a change of mastership, packets of TCP connections that the
	// kernel has no entry for go to the director that was master before. On by default.
	Stragglers bool
	Timeouts   ipvsctl.Timeouts
	Sysctls    Sysctls
}

// HTTP listeners of metrics and health endpoints, as host:port; empty means none.
type HTTP struct {
	Listen []string
}

// Log settings: Level debug, info, warn or error; Format auto, text or json.
type Log struct {
	Level  string
	Format string
}

// OnFailure says what is done to a server that failed.
type OnFailure string

const (
	FailQuiesce OnFailure = "quiesce" // weight 0, then removal after RemoveAfter
	FailRemove  OnFailure = "remove"  // weight 0 and removal in the same pass
)

// OnQuorumLoss says what is done while the healthy servers of a service weigh
// less than its quorum.
type OnQuorumLoss string

const (
	// QuorumSorry: the sorry server stands in for all of them; without one it is QuorumKeep.
	QuorumSorry OnQuorumLoss = "sorry"
	// QuorumKeep: those that are left go on.
	QuorumKeep OnQuorumLoss = "keep"
	// QuorumWithdraw: as QuorumKeep, and the VRRP instance of the service gets a lower priority.
	QuorumWithdraw OnQuorumLoss = "withdraw"
)

// Service is one virtual service with its servers.
type Service struct {
	Name    string
	Service ipvsctl.Service
	// Ports are ranges of ports, which the kernel knows by a mark; nil for one
	// port, every port or a mark of the file's own.
	Ports *Ports
	// SNAT: servers with NAT see an address of the director in place of the client's.
	SNAT bool
	// VRRP is the instance that holds the service's address; "" if none does.
	VRRP      string
	OnFailure OnFailure
	// RemoveAfter is how long a failed server keeps weight 0 before it is
	// removed; nil for never, 0 with FailRemove. With UDP or persistence it is removed at once.
	RemoveAfter *time.Duration
	// StartUp: servers count as up until a check says otherwise.
	StartUp bool
	// Quorum is the healthy weight that the service needs, at least 1. It is met
	// from Quorum + QuorumHysteresis on and lost below Quorum - QuorumHysteresis, or at 0.
	Quorum, QuorumHysteresis uint32
	OnQuorumLoss             OnQuorumLoss
	Sorry                    *ipvsctl.Server // stands in when the quorum is lost; nil without one
	// SlowStart is how long a server that recovered takes to its full weight; 0 for none.
	SlowStart time.Duration
	// MinHealthy is the share (0..1) of the configured weight that stays in
	// service whatever checks and people say; 0 for none.
	MinHealthy float64
	Servers    []Server
}

// Server is one real server of a service. Kernel.Weight is the configured weight.
type Server struct {
	Name    string
	Kernel  ipvsctl.Server
	Enabled bool
	// Checks must all pass, or with AnyCheck one of them. Without checks a server counts as up.
	Checks   []Check
	AnyCheck bool
}

// Check is a named check of one server.
type Check struct {
	Name string
	Spec health.Spec
}
