package director

import (
	"time"

	"lvs-ha/health"
	"lvs-ha/internal/histogram"
	"lvs-ha/ipvsctl"
	"lvs-ha/vrrp/link"
)

// Snapshot is everything that metrics and control may know, at one instant.
// It is immutable: nobody changes what it points to.
type Snapshot struct {
	At      time.Time
	Node    string
	Cluster string
	Started time.Time // of this director process
	Config  ConfigStatus
	// Speaker is nil while the speaker has not answered yet. It is as of SpeakerAt.
	Speaker   *link.Status
	SpeakerAt time.Time
	Services  []ServiceStatus // in the order of the configuration
	Kernel    KernelStatus
	Sync      SyncStatus
	// Tracks that the director watches for VRRP instances; the interfaces are the speaker's.
	Tracks     []TrackStatus
	NotifyRuns map[NotifyRun]uint64
	Checks     ChecksStatus
	Pause      Pause             // of all changes of the kernel
	Ready      bool              // table applied and every service judged
	Logged     map[string]uint64 // log records of this process, by level
	Repairs    map[string]uint64 // of the machine beside IPVS that somebody made necessary, by kind
	Warnings   []string          // for people, present now
}

// ConfigStatus tells of the configuration in force and the last attempt to load one.
type ConfigStatus struct {
	Path      string
	Hash      uint64
	LoadedAt  time.Time // last accepted load
	LastOK    bool      // of the last attempt
	LastError string    // of the last attempt, "" if it was accepted
}

// ServiceStatus of one configured virtual service.
type ServiceStatus struct {
	Name    string
	Service ipvsctl.Service
	// Virtual is where clients find the service, with Ports in place of its port
	// if it has ranges: the kernel knows such a service by a mark alone.
	Virtual ipvsctl.ServiceKey
	Ports   string
	VRRP    string
	// Up: the quorum is met (without one: at least one server is up with weight above 0).
	Up           bool
	QuorumWeight uint32
	// HealthyWeight of servers that pass their checks and take new connections;
	// slow start does not lower it.
	HealthyWeight    uint32
	ConfiguredWeight uint32
	// ServingWeight is HealthyWeight and what the floor keeps in service.
	ServingWeight uint32
	Quorum        Quorum
	Floor         Floor
	// Sorry is the sorry server as configured, nil without one; SorryActive
	// while it stands in for the others.
	Sorry         *ipvsctl.Server
	SorryActive   bool
	KernelPresent bool
	Counters      ipvsctl.Counters
	Servers       []ServerStatus
}

// ServerState is the one word for a server in status and metrics.
type ServerState string

const (
	ServerUp          ServerState = "up"
	ServerDown        ServerState = "down"
	ServerPending     ServerState = "pending" // no verdict yet
	ServerDrain       ServerState = "drain"
	ServerMaintenance ServerState = "maintenance"
)

// ServerStates lists all, in a fixed order.
var ServerStates = []ServerState{ServerUp, ServerDown, ServerPending, ServerDrain, ServerMaintenance}

// ServerStatus of one configured real server in its service.
type ServerStatus struct {
	Name             string
	Server           ipvsctl.Server // as configured
	State            ServerState
	Healthy          bool   // all checks pass, whatever the admin state
	Held             bool   // the floor keeps it in service
	Admin            *Admin // nil without an order
	Since            time.Time
	ConfiguredWeight uint32
	// Weight in the kernel now; nil while the server is not in the table.
	Weight *uint32
	// Why is a short sentence for people: which check decided, or why the weight is what it is.
	Why             string
	TransitionsUp   uint64
	TransitionsDown uint64
	Stats           ipvsctl.ServerStats
	Checks          []CheckStatus
}

// CheckStatus of one named check of one server.
type CheckStatus struct {
	Name   string
	Status health.Status
}

// ChecksStatus of the probe scheduler.
type ChecksStatus struct {
	Distinct int
	Running  int
	Lag      histogram.Snapshot // seconds that probes started late
	Doubt    health.Doubt       // of this machine's own judgement
}

// KernelStatus of the IPVS table and our work on it.
type KernelStatus struct {
	Used          bool // the configuration needs IPVS
	Up            bool // the latest read succeeded
	Error         string
	Operations    map[OperationResult]uint64
	Drift         map[string]uint64 // repaired differences that were not ours, by kind
	Contended     int               // objects left alone for a while, because somebody keeps changing them
	Unmanaged     int               // services in the kernel that are not ours
	LastReconcile time.Time
	Reconcile     histogram.Snapshot // seconds a comparison took
}

// OperationResult labels a counter of changes sent to the kernel.
type OperationResult struct{ Operation, Result string }

// SyncStatus of the connection synchronisation daemon.
type SyncStatus struct {
	Configured bool
	Interface  string
	ID         uint8
	Follow     string
	// Running roles as read back, Wanted roles as decided.
	Running, Wanted []ipvsctl.Role
	// Lag: the running roles have differed from what the role of Follow asks for since then; zero if they agree.
	BehindSince time.Time
}
