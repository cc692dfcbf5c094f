package ipvsctl

import (
	"net/netip"
	"time"
)

// Protocol of a virtual service, as IP protocol number.
type Protocol uint16

const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// Forward is the forwarding method, with the kernel's numbers
// (include/uapi/linux/ip_vs.h, IP_VS_CONN_F_*).
type Forward uint32

const (
	NAT    Forward = 0 // masquerade
	Local  Forward = 1
	Tunnel Forward = 2
	Direct Forward = 3
	Bypass Forward = 4
)

// ServiceKey identifies a virtual service in the kernel: either Protocol,
// Addr and Port, or FWMark with Family. It is comparable.
type ServiceKey struct {
	Protocol Protocol
	Addr     netip.Addr
	Port     uint16
	FWMark   uint32
	// Family is 4 or 6; with an address it is the address's.
	Family uint8
}

// Flags of a service that the configuration may set. The kernel's hashed flag
// (0x2) is never part of it.
type Flags uint32

const (
	FlagPersistent Flags = 0x1
	FlagOnePacket  Flags = 0x4
	FlagSched1     Flags = 0x8  // sh-fallback, mh-fallback
	FlagSched2     Flags = 0x10 // sh-port, mh-port
	FlagSched3     Flags = 0x20
)

// Service is a virtual service without its servers. Comparable.
type Service struct {
	Key       ServiceKey
	Scheduler string
	Flags     Flags
	// Timeout of persistence, whole seconds; 0 without FlagPersistent.
	Timeout time.Duration
	// PersistPrefix is the prefix length of client addresses that persist together: IPv4 1..32, IPv6 1..128.
	PersistPrefix uint8
	PEName        string
}

// ServerKey identifies a real server within its service.
type ServerKey struct {
	Addr netip.Addr
	Port uint16
}

// TunnelType of a tunnelled server, with the kernel's numbers.
type TunnelType uint8

const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// Server is a real server (the kernel says destination). Comparable.
type Server struct {
	Key     ServerKey
	Forward Forward
	// Weight 0..65535; 0 takes no new connections. (The kernel keeps 31 bits; moby/ipvs reads 16.)
	Weight uint32
	// Upper and Lower connection thresholds; 0 for none.
	Upper, Lower uint32
	TunnelType   TunnelType
	TunnelPort   uint16
	TunnelFlags  uint16
}

// Entry is a service with its servers.
type Entry struct {
	Service Service
	Servers map[ServerKey]Server
}

// Table is a whole virtual server table. A nil Table is an empty one.
type Table map[ServiceKey]Entry

// Timeouts of connection entries; 0 leaves the kernel's value alone.
type Timeouts struct{ TCP, TCPFin, UDP time.Duration }

// Role of the connection synchronisation daemon, with the kernel's numbers.
type Role uint32

const (
	RoleMaster Role = 1
	RoleBackup Role = 2
)

func (r Role) String() string {
	if r == RoleBackup {
		return "backup"
	}
	return "master"
}

// Daemon is one running (or wanted) sync daemon; the kernel runs at most one
// in each role. Zero fields take the kernel's defaults when started, and are
// not compared when read back.
type Daemon struct {
	Role      Role
	Interface string
	ID        uint8
	MaxLen    uint16     // octets; default 1472
	Group     netip.Addr // default 224.0.0.81
	Port      uint16     // default 8848
	TTL       uint8      // default 1
}

// Counters are the kernel's statistics of a service or server, 64 bits wide.
type Counters struct {
	Connections           uint64
	InPackets, OutPackets uint64
	InBytes, OutBytes     uint64
	CPS                   uint64 // present rates, per second
	InPPS, OutPPS         uint64
	InBPS, OutBPS         uint64
}

// ServerStats is what the kernel counts for a server.
type ServerStats struct {
	Counters
	Active, Inactive, Persistent uint32
	Weight                       uint32 // in the kernel now
}

// EntryStats are the statistics of one service and its servers.
type EntryStats struct {
	Counters
	Servers map[ServerKey]ServerStats
}
