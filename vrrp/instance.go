package vrrp

import (
	"net/netip"
	"time"
)

// Version is the protocol version of an instance: 2 (RFC 3768) or 3 (RFC 9568).
type Version uint8

// Family is the address family of an instance. IPv4 and IPv6 with one VRID
// are two instances.
type Family uint8

const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Mode says where advertisements go.
type Mode uint8

const (
	Multicast Mode = iota // 224.0.0.18 or ff02::12
	Unicast               // each configured peer (an extension that keepalived has too)
)

// Checksum selects the form of the VRRPv3 checksum that is sent over IPv4.
// Both forms are accepted. IPv6 always has the pseudo-header, v2 never.
type Checksum uint8

const (
	ChecksumPseudoHeader Checksum = iota // what keepalived and FRR send and require
	ChecksumMessageOnly                  // RFC 9568
)

// AuthType is the authentication type of VRRPv2. VRRPv3 has none.
type AuthType uint8

const (
	AuthNone AuthType = 0
	AuthPass AuthType = 1 // RFC 2338 simple text password, 8 octets
)

// Auth is the VRRPv2 authentication of an instance; the zero value is none.
type Auth struct {
	Type AuthType
	// Data is the password padded with zeros to 8 octets; longer ones are cut, as keepalived does.
	Data [8]byte
}

// Config is what the election of one instance needs to know. It is a value;
// Address lists are never changed after it was handed over.
type Config struct {
	VRID     uint8 // 1..255
	Version  Version
	Family   Family
	Priority uint8 // configured: 1..254, or 255 for the address owner
	// Interval between advertisements: v3 10 ms..40.95 s in steps of 10 ms, v2 whole seconds 1..255.
	Interval time.Duration
	// Preempt: take over from a master of lower priority.
	Preempt bool
	// PreemptDelay runs from the first lower-priority advertisement heard as backup.
	PreemptDelay time.Duration
	// StartDelay: stay in Init this long after the start.
	StartDelay time.Duration
	// Advertised addresses, in the order of the configuration.
	Addresses []netip.Addr
	Auth      Auth
	Checksum  Checksum
	Mode      Mode
	// Grouped: a member of a sync group, which takes over only with the others.
	// The group's decisions come with EventGroup. JoinGroup sets it, and the rest:
	Grouped bool
	// GroupTie: equal priorities are decided by the group's first member, if it can.
	GroupTie bool
	// GroupInterval and GroupSkew are the slowest of the group.
	GroupInterval, GroupSkew time.Duration
	// Peers are the unicast destinations and the only sources accepted in that mode.
	Peers []netip.Addr
}

// Address is one virtual address as it is put on an interface.
type Address struct {
	Prefix netip.Prefix
	// Interface is empty for the instance's own.
	Interface string
	// Label is the IPv4 address label, "" for none (at most 15 octets, starts with the interface's name).
	Label string
	// Scope is the rtnetlink scope (0 global, 253 link, 254 host).
	Scope uint8
}

// ARPOpcode selects the form of gratuitous ARP.
type ARPOpcode uint8

const (
	ARPRequest ARPOpcode = iota // what keepalived and FRR send
	ARPReply                    // what some clouds require
	ARPBoth
)

// Announce says how addresses are announced after a take-over.
type Announce struct {
	// Count of frames per address in a round; the first at once, the others Interval apart.
	Count    int
	Interval time.Duration
	// RepeatAfter starts one more round this long after the first; 0 for none.
	RepeatAfter time.Duration
	// Refresh sends one frame per address this often while master; 0 for never.
	Refresh time.Duration
	Opcode  ARPOpcode
}

// Track is a thing that an instance watches besides its own interface.
// Delta is added to the priority while it is bad; 0 means FAULT instead.
type Track struct {
	Name  string // as configured: an interface, service or check
	Delta int    // -253..253
}

// Instance is everything the speaker needs to run one VRRP instance. It goes
// from the director to the speaker as it stands here.
type Instance struct {
	Name      string
	Interface string
	// Group is the sync group, "" for none.
	Group  string `json:",omitempty"`
	Config Config
	// Addresses are advertised and held, Excluded only held and announced.
	Addresses []Address
	Excluded  []Address
	Announce  Announce
	// Source to send from: an address of the interface, without which the
	// instance waits. Invalid: chosen among the interface's addresses, Prefer
	// first if it is one of them.
	Source netip.Addr `json:",omitzero"`
	Prefer netip.Addr `json:",omitzero"`
	// TrackInterfaces are watched by the speaker itself.
	TrackInterfaces []Track
	// Lifetime of a held address that nobody renews; see Config.Lifetime.
	Lifetime time.Duration
}
