package control

import "time"

// Schema of the documents. Within v1 keys may be added; none changes its
// meaning or vanishes.
const Schema = "lvs-ha/v1"

// Document is the answer to GET /v1/status. Durations are in seconds, times
// RFC 3339 in UTC, enums in lower case. What is not known is null; lists are
// never null.
type Document struct {
	Schema  string    `json:"schema"`
	Node    string    `json:"node"`
	Cluster string    `json:"cluster"`
	Time    time.Time `json:"time"` // that the figures are of
	Version string    `json:"version"`
	Started time.Time `json:"started"` // the director process

	// State is ok, degraded (something needs a person, clients are served) or
	// down (a service is below its quorum, or nothing can be decided).
	State    string   `json:"state"`
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"` // sentences for people, worst first
	Paused   *Order   `json:"paused"`   // null, or who has frozen the kernel's table

	Config   Config    `json:"config"`
	Speaker  *Speaker  `json:"speaker"`
	VRRP     []VRRP    `json:"vrrp"`
	Services []Service `json:"services"`
	Kernel   Kernel    `json:"kernel"`
	Sync     *Sync     `json:"sync"`
	Checks   Checks    `json:"checks"`
}

// States of a document and of a service.
const (
	StateOK       = "ok"
	StateDegraded = "degraded"
	StateDown     = "down"
	StatePending  = "pending" // of a service alone: no verdict yet
)

// Config in force, and the last attempt to load one.
type Config struct {
	Path      string     `json:"path"`
	Hash      string     `json:"hash"` // 16 hexadecimal digits
	LoadedAt  *time.Time `json:"loaded_at"`
	LastOK    bool       `json:"last_reload_ok"`
	LastError string     `json:"last_reload_error"`
}

// Speaker is the process that runs the election.
type Speaker struct {
	PID              int       `json:"pid"`
	Started          time.Time `json:"started"`
	AsOf             time.Time `json:"as_of"` // its latest answer
	Realtime         string    `json:"realtime"`
	DirectorRestarts uint64    `json:"director_restarts"`
}

// VRRP is one instance.
type VRRP struct {
	Name               string            `json:"name"`
	Interface          string            `json:"interface"`
	VRID               int               `json:"vrid"`
	Version            int               `json:"version"`
	Family             string            `json:"family"` // ipv4, ipv6
	Mode               string            `json:"mode"`   // multicast, unicast
	State              string            `json:"state"`
	Reason             string            `json:"reason"`
	Since              *time.Time        `json:"since"`
	Priority           int               `json:"priority"`
	ConfiguredPriority int               `json:"configured_priority"`
	AdvertInterval     float64           `json:"advert_interval"`
	Source             *string           `json:"source"`
	MasterSource       *string           `json:"master_source"` // of the last advertisement heard
	MasterPriority     *int              `json:"master_priority"`
	LastHeard          *time.Time        `json:"last_heard"`
	MasterDownIn       *float64          `json:"master_down_in"` // null unless backup
	Addresses          []Address         `json:"addresses"`
	Tracks             []Track           `json:"tracks"`
	Transitions        map[string]uint64 `json:"transitions"` // by state entered
	Sent               uint64            `json:"advertisements_sent"`
	Received           uint64            `json:"advertisements_received"`
	Dropped            map[string]uint64 `json:"advertisements_dropped"` // by reason
	LowerPriority      uint64            `json:"lower_priority_advertisements"`
	AddressMismatch    uint64            `json:"address_mismatch_advertisements"`
	MessageOnly        uint64            `json:"message_only_checksum_advertisements"`
	ForeignClaims      uint64            `json:"foreign_claims"` // of our addresses by other stations, heard as master
	ZeroSent           uint64            `json:"priority_zero_sent"`
	ZeroReceived       uint64            `json:"priority_zero_received"`
	AnnouncedARP       uint64            `json:"announced_arp"`
	AnnouncedNA        uint64            `json:"announced_na"`
	SendErrors         uint64            `json:"send_errors"`
}

// Address is one virtual address.
type Address struct {
	Address   string `json:"address"` // with its prefix length
	Interface string `json:"interface"`
	Present   bool   `json:"present"`  // on the interface, read back
	Excluded  bool   `json:"excluded"` // held but not advertised
}

// Track is something an instance watches.
type Track struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
}

// Service is one virtual service. Address, Port and Protocol are null with
// FWMark, unless it has Ports, which the kernel knows by a mark of ours.
type Service struct {
	Name             string       `json:"name"`
	State            string       `json:"state"` // ok, degraded, down, pending
	Up               bool         `json:"up"`
	Address          *string      `json:"address"`
	Port             *int         `json:"port"`
	Ports            *string      `json:"ports"` // ranges, in place of a port
	Protocol         *string      `json:"protocol"`
	FWMark           *uint32      `json:"fwmark"`
	Family           string       `json:"family"`
	Scheduler        string       `json:"scheduler"`
	Persistence      float64      `json:"persistence_timeout"` // 0 without
	VRRP             *string      `json:"vrrp_instance"`
	QuorumWeight     uint32       `json:"quorum_weight"`
	HealthyWeight    uint32       `json:"healthy_weight"`
	ConfiguredWeight uint32       `json:"configured_weight"`
	ServingWeight    uint32       `json:"serving_weight"` // healthy, and what the floor keeps
	FloorWeight      uint32       `json:"floor_weight"`   // 0 without min_healthy
	FloorHeld        int          `json:"floor_held"`     // servers that it keeps in service
	FloorShort       bool         `json:"floor_short"`    // and that is not enough
	Sorry            *string      `json:"sorry"`          // address and port of the sorry server
	SorryActive      bool         `json:"sorry_active"`
	KernelPresent    bool         `json:"kernel_present"`
	Counters         Counters     `json:"counters"`
	Servers          []RealServer `json:"servers"`
}

// RealServer is one real server of a service.
type RealServer struct {
	Name             string     `json:"name"`
	Address          string     `json:"address"`
	Port             int        `json:"port"`
	Forward          string     `json:"forward"` // nat, dr, tun, local, bypass
	State            string     `json:"state"`   // up, down, pending, drain, maintenance
	Healthy          bool       `json:"healthy"`
	Why              string     `json:"why"`
	Held             bool       `json:"held_by_floor"`
	Admin            *Admin     `json:"admin"` // null: nobody wants anything of it
	Since            *time.Time `json:"since"`
	Weight           *uint32    `json:"weight"` // in the kernel; null: not in the table
	ConfiguredWeight uint32     `json:"configured_weight"`
	TransitionsUp    uint64     `json:"transitions_up"`
	TransitionsDown  uint64     `json:"transitions_down"`
	Active           uint32     `json:"active_connections"`
	Inactive         uint32     `json:"inactive_connections"`
	Persistent       uint32     `json:"persistent_connections"`
	Counters         Counters   `json:"counters"`
	Checks           []Check    `json:"checks"`
}

// Counters of the kernel; rates are its own estimate, per second.
type Counters struct {
	Connections     uint64 `json:"connections"`
	IncomingPackets uint64 `json:"incoming_packets"`
	OutgoingPackets uint64 `json:"outgoing_packets"`
	IncomingBytes   uint64 `json:"incoming_bytes"`
	OutgoingBytes   uint64 `json:"outgoing_bytes"`
	ConnectionRate  uint64 `json:"connection_rate"`
}

// Check of one server.
type Check struct {
	Name         string            `json:"name"`
	Type         string            `json:"type"`
	Target       string            `json:"target"`
	State        string            `json:"state"` // up, down, unknown
	Since        *time.Time        `json:"since"`
	Streak       int               `json:"streak"` // positive successes, negative failures
	OK           uint64            `json:"ok"`
	Failed       map[string]uint64 `json:"failed"` // by reason
	LastAt       *time.Time        `json:"last_at"`
	LastDuration *float64          `json:"last_duration"`
	LastFailure  *Failure          `json:"last_failure"` // null if the last one passed
}

// Failure of a probe; Detail comes from outside and is for people.
type Failure struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Kernel tells of the IPVS table.
type Kernel struct {
	Used          bool              `json:"used"`
	Up            bool              `json:"up"`
	Error         string            `json:"error"`
	Unmanaged     int               `json:"unmanaged_services"`
	Contended     int               `json:"contended_objects"` // left alone: somebody keeps changing them
	LastReconcile *time.Time        `json:"last_reconcile"`
	Operations    []Operation       `json:"operations"`
	Drift         map[string]uint64 `json:"drift"` // repaired, by kind
}

// Operation counts changes sent to the kernel.
type Operation struct {
	Operation string `json:"operation"`
	Result    string `json:"result"`
	Count     uint64 `json:"count"`
}

// Sync tells of the connection synchronisation daemon.
type Sync struct {
	Interface   string     `json:"interface"`
	ID          int        `json:"id"`
	Follow      string     `json:"vrrp_instance"`
	Running     []string   `json:"running"`      // roles
	Wanted      []string   `json:"wanted"`       // roles
	BehindSince *time.Time `json:"behind_since"` // null while the role agrees
}

// Checks tells of the probes.
type Checks struct {
	Distinct int `json:"distinct"`
	Running  int `json:"running"`
}
