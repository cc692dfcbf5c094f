package link

import (
	"net"
	"net/netip"
	"time"

	"lvs-ha/internal/histogram"
	"lvs-ha/vrrp"
)

// Down is a message from the director to the speaker. Exactly one field beside
// ID is set. A message with an ID other than 0 is answered by an Up with the
// same ID.
type Down struct {
	ID uint64 `json:",omitempty"`
	// Configure replaces the set of instances. All or nothing: refused with
	// Up.Error when one of them cannot be accepted; timers of instances that
	// did not change go on.
	Configure *Configure `json:",omitempty"`
	// Posture is what the director's state means for the election. The latest counts.
	Posture *Posture `json:",omitempty"`
	// Status asks for Up.Status.
	Status *struct{} `json:",omitempty"`
	// Notify is passed to the service manager (READY once, STATUS always) and
	// is the director's sign of life: at least one each HeartbeatEvery.
	Notify *Notify `json:",omitempty"`
	// Stopped: the director has done all it had to do and exits now.
	Stopped *struct{} `json:",omitempty"`
	// Failover asks for an orderly release of one instance.
	Failover *Failover `json:",omitempty"`
	// Taken confirms all transitions up to this number; they are not sent again.
	Taken *uint64 `json:",omitempty"`
}

// HeartbeatEvery is how often the director gives a sign of life; the speaker
// kills and restarts a director that was silent for HeartbeatLimit.
const (
	HeartbeatEvery = 1 * time.Second
	HeartbeatLimit = 10 * time.Second
)

// Configure carries the wanted instances; see Down.
type Configure struct {
	Instances []vrrp.Instance
	// Realtime: -1 off, 0 automatic (take it if permitted), 1..99 a SCHED_RR priority.
	Realtime int
	// DirectorGrace is how long the director may be away, or not ready again,
	// before mastership is offered to others; 0 for 30 s.
	DirectorGrace time.Duration `json:",omitempty"`
	LogLevel      string        `json:",omitempty"`
	LogFormat     string        `json:",omitempty"`
}

// Posture of the director, per instance by name.
type Posture struct {
	// Ready: the table is applied and every service judged; until then an
	// instance has priority 1 and does not preempt.
	Ready bool
	// Away: there is no director. Set by its supervisor, never by a director.
	Away bool `json:",omitempty"`
	// Instances that the director wants to change; absent means no change of priority.
	Instances map[string]InstancePosture `json:",omitempty"`
}

// InstancePosture adds up what the director tracks for one instance.
type InstancePosture struct {
	Deltas []int `json:",omitempty"`
	// Fault is the name of a failed track without a delta, "" for none.
	Fault string `json:",omitempty"`
}

// Notify for the service manager.
type Notify struct {
	Ready  bool
	Status string `json:",omitempty"`
}

// Failover asks one instance to release its addresses in order.
type Failover struct {
	Instance string
	// For suppresses our own preemption this long; 0: until the next restart.
	For   time.Duration
	Force bool
}

// Up is a message from the speaker to the director. Exactly one field beside
// ID and Error is set (an answer may have neither: it was done).
type Up struct {
	ID    uint64 `json:",omitempty"`
	Error string `json:",omitempty"`
	// Transition tells of a change of state; Seq counts from 1 for the life of
	// the speaker. Those that no director has taken yet are sent again, in order.
	Transition *Transition `json:",omitempty"`
	Status     *Status     `json:",omitempty"`
	// Reload: the speaker was told (SIGHUP) to read the configuration again.
	Reload *struct{} `json:",omitempty"`
	// Stop: the program ends. The speaker has released the addresses when this
	// arrives; the director applies on_stop, answers Down.Stopped and exits.
	Stop *struct{} `json:",omitempty"`
}

// Transition of one instance.
type Transition struct {
	Seq      uint64
	Instance string
	From, To vrrp.State
	// Planned: an orderly change (stop, failover, priority 0 heard, preemption), not a loss.
	Planned bool
	Reason  string
	At      time.Time
	// Priority in use after it.
	Priority uint8
	// Reassert: no change; as master (From and To) one of lower priority was
	// heard, so that whatever follows the addresses elsewhere may be wrong.
	Reassert bool `json:",omitempty"`
	// Master: no change; as backup (From and To) this one was heard as master,
	// and another or none before. Invalid in all else.
	Master netip.Addr `json:",omitzero"`
	// Claim: no change; as master (From and To) another station was heard to say
	// that an address of ours is its own. Not each time that it says so.
	Claim *Claim `json:",omitempty"`
}

// Changes tells whether this is a change of state, and no other news.
func (t *Transition) Changes() bool { return !t.Reassert && !t.Master.IsValid() && t.Claim == nil }

// Claim of an address of ours by another station.
type Claim struct {
	Address      netip.Addr
	Interface    string
	HardwareAddr net.HardwareAddr
}

// Status of the speaker.
type Status struct {
	PID       int
	Started   time.Time
	Realtime  string // "rr 10", "off", or why it was not permitted
	Instances []InstanceStatus
	// DirectorRestarts counts directors started after the first.
	DirectorRestarts uint64
	Lag              histogram.Snapshot // seconds that the advertisement timer fired late
	Logged           map[string]uint64  // log records written, by level
}

// InstanceStatus is what there is to know about one instance now. Counters
// live as long as the speaker and the instance's identity.
type InstanceStatus struct {
	Name      string
	Interface string
	VRID      uint8
	Version   vrrp.Version
	Family    vrrp.Family
	Mode      vrrp.Mode
	State     vrrp.State
	// Reason of the last transition, or what Init or Fault waits for.
	Reason             string
	Since              time.Time
	Priority           uint8 // in use now
	ConfiguredPriority uint8
	Interval           time.Duration
	Source             netip.Addr // invalid while there is none
	// MasterSource and MasterPriority of the last valid advertisement heard.
	MasterSource   netip.Addr
	MasterPriority uint8
	LastHeard      time.Time // zero if never
	MasterDownIn   time.Duration
	Addresses      []AddressStatus
	Transitions    map[string]uint64 // by state entered
	Sent           uint64
	Received       uint64
	Dropped        map[string]uint64 // by reason
	LowerPriority  uint64
	// AddressMismatch counts valid advertisements whose address list is not
	// ours, MessageOnly v3 IPv4 ones with the checksum form of RFC 9568.
	AddressMismatch uint64
	MessageOnly     uint64
	ForeignClaims   uint64 // of our addresses by other stations, heard as master
	ZeroSent        uint64
	ZeroReceived    uint64
	AnnouncedARP    uint64
	AnnouncedNA     uint64
	SendErrors      uint64
	TrackUp         map[string]bool
}

// AddressStatus of one virtual address.
type AddressStatus struct {
	Address   netip.Prefix
	Interface string
	Present   bool // read back from the kernel
	Excluded  bool
	// Fragile: the kernel removes it along with the first address of its
	// subnet, because promote_secondaries is 0 on the interface.
	Fragile bool `json:",omitempty"`
}
