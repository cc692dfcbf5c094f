package ipvsctl

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Numbers of the generic netlink family "IPVS" (include/uapi/linux/ip_vs.h).
const (
	genlName    = "IPVS"
	genlVersion = 1

	cmdNewService uint8 = 1
	cmdSetService uint8 = 2
	cmdDelService uint8 = 3
	cmdGetService uint8 = 4
	cmdNewDest    uint8 = 5
	cmdSetDest    uint8 = 6
	cmdDelDest    uint8 = 7
	cmdGetDest    uint8 = 8
	cmdNewDaemon  uint8 = 9
	cmdDelDaemon  uint8 = 10
	cmdGetDaemon  uint8 = 11
	cmdSetConfig  uint8 = 12
	cmdGetConfig  uint8 = 13
	cmdGetInfo    uint8 = 15
	cmdZero       uint8 = 16

	attrService = 1
	attrDest    = 2
	attrDaemon  = 3
	// TCP, TCP_FIN, UDP follow one another.
	attrTimeoutTCP = 4

	svcFamily   = 1
	svcProtocol = 2
	svcAddr     = 3
	svcPort     = 4
	svcFWMark   = 5
	svcSched    = 6
	svcFlags    = 7
	svcTimeout  = 8
	svcNetmask  = 9
	svcStats    = 10
	svcPEName   = 11
	svcStats64  = 12

	destAddr     = 1
	destPort     = 2
	destForward  = 3
	destWeight   = 4
	destUpper    = 5
	destLower    = 6
	destActive   = 7
	destInactive = 8
	destPersist  = 9
	destStats    = 10
	destFamily   = 11
	destStats64  = 12
	destTunType  = 13
	destTunPort  = 14
	destTunFlags = 15

	daemonState  = 1
	daemonIfname = 2
	daemonID     = 3
	daemonMaxLen = 4
	daemonGroup4 = 5
	daemonGroup6 = 6
	daemonPort   = 7 // host order, unlike every other port
	daemonTTL    = 8

	infoVersion = 1
	infoTabSize = 2
)

// headers of a request: nlmsghdr and genlmsghdr.
const (
	nlHeader   = 16
	genlHeader = 4
)

// An encoder appends netlink messages to a buffer.
type encoder struct{ b []byte }

// begin starts a message; end with what it returns gives it its length.
func (e *encoder) begin(family uint16, cmd uint8, flags uint16, seq uint32) int {
	at := len(e.b)
	e.b = binary.NativeEndian.AppendUint32(e.b, 0)
	e.b = binary.NativeEndian.AppendUint16(e.b, family)
	e.b = binary.NativeEndian.AppendUint16(e.b, unix.NLM_F_REQUEST|flags)
	e.b = binary.NativeEndian.AppendUint32(e.b, seq)
	e.b = append(e.b, 0, 0, 0, 0, cmd, genlVersion, 0, 0)
	return at
}

func (e *encoder) end(at int) {
	binary.NativeEndian.PutUint32(e.b[at:], uint32(len(e.b)-at))
}

func (e *encoder) attr(typ uint16, length int) {
	e.b = binary.NativeEndian.AppendUint16(e.b, uint16(4+length))
	e.b = binary.NativeEndian.AppendUint16(e.b, typ)
}

func (e *encoder) pad() {
	for len(e.b)%4 != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) u8(typ uint16, v uint8) {
	e.attr(typ, 1)
	e.b = append(e.b, v, 0, 0, 0)
}

func (e *encoder) u16(typ uint16, v uint16) {
	e.attr(typ, 2)
	e.b = binary.NativeEndian.AppendUint16(e.b, v)
	e.b = append(e.b, 0, 0)
}

func (e *encoder) be16(typ uint16, v uint16) {
	e.attr(typ, 2)
	e.b = append(e.b, byte(v>>8), byte(v), 0, 0)
}

func (e *encoder) u32(typ uint16, v uint32) {
	e.attr(typ, 4)
	e.b = binary.NativeEndian.AppendUint32(e.b, v)
}

func (e *encoder) str(typ uint16, s string) {
	e.attr(typ, len(s)+1)
	e.b = append(append(e.b, s...), 0)
	e.pad()
}

func (e *encoder) addr(typ uint16, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		e.attr(typ, len(b))
		e.b = append(e.b, b[:]...)
		return
	}
	b := a.As16()
	e.attr(typ, len(b))
	e.b = append(e.b, b[:]...)
}

func (e *encoder) nest(typ uint16) int {
	at := len(e.b)
	e.attr(typ, 0)
	return at
}

func (e *encoder) close(at int) {
	binary.NativeEndian.PutUint16(e.b[at:], uint16(len(e.b)-at))
}

func afOf(family uint8) uint16 {
	if family == 6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func afOfAddr(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// key names a service: all that a request on an existing one needs.
func (e *encoder) key(k ServiceKey) {
	e.u16(svcFamily, afOf(k.Family))
	if k.FWMark != 0 {
		e.u32(svcFWMark, k.FWMark)
		return
	}
	e.u16(svcProtocol, uint16(k.Protocol))
	e.addr(svcAddr, k.Addr)
	e.be16(svcPort, k.Port)
}

func (e *encoder) serviceKey(k ServiceKey) {
	at := e.nest(attrService)
	e.key(k)
	e.close(at)
}

// service is the whole of it, for a new or an edited one.
func (e *encoder) service(s Service) {
	at := e.nest(attrService)
	e.key(s.Key)
	e.str(svcSched, s.Scheduler)
	if s.PEName != "" {
		e.str(svcPEName, s.PEName)
	}
	e.attr(svcFlags, 8)
	e.b = binary.NativeEndian.AppendUint32(e.b, uint32(s.Flags))
	e.b = binary.NativeEndian.AppendUint32(e.b, ^uint32(0))
	e.u32(svcTimeout, uint32(s.Timeout/time.Second))
	e.u32(svcNetmask, netmask(s))
	e.close(at)
}

// server is the whole of it, or what names it. The address family is always
// sent: without it the kernel takes the service's and reads the address wrong.
func (e *encoder) server(s Server, whole bool) {
	at := e.nest(attrDest)
	e.addr(destAddr, s.Key.Addr)
	e.be16(destPort, s.Key.Port)
	e.u16(destFamily, afOfAddr(s.Key.Addr))
	if whole {
		e.u32(destForward, uint32(s.Forward))
		e.u32(destWeight, s.Weight)
		e.u32(destUpper, s.Upper)
		e.u32(destLower, s.Lower)
		e.u8(destTunType, uint8(s.TunnelType))
		e.be16(destTunPort, s.TunnelPort)
		e.u16(destTunFlags, s.TunnelFlags)
	}
	e.close(at)
}

// daemon leaves attributes out that are zero: the kernel's defaults.
func (e *encoder) daemon(d Daemon) {
	at := e.nest(attrDaemon)
	e.u32(daemonState, uint32(d.Role))
	e.str(daemonIfname, d.Interface)
	e.u32(daemonID, uint32(d.ID))
	if d.MaxLen != 0 {
		e.u16(daemonMaxLen, d.MaxLen)
	}
	switch g := d.Group.Unmap(); {
	case g.Is4():
		e.addr(daemonGroup4, g)
	case g.Is6():
		e.addr(daemonGroup6, g)
	}
	if d.Port != 0 {
		e.u16(daemonPort, d.Port)
	}
	if d.TTL != 0 {
		e.u8(daemonTTL, d.TTL)
	}
	e.close(at)
}

// netmask of persistence as the kernel wants it: an IPv4 mask in network
// order, an IPv6 prefix length as a number. IPv6 must have one in any case.
func netmask(s Service) uint32 {
	n := s.PersistPrefix
	if n == 0 {
		n = fullPrefix(s.Key.Family)
	}
	if s.Key.Family == 6 {
		return uint32(n)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^uint32(0)<<(32-min(n, 32)))
	return binary.NativeEndian.Uint32(b[:])
}

// prefix is the reverse of netmask: badPrefix if it is none.
func prefix(family uint8, mask uint32) uint8 {
	if family == 6 {
		if mask < 1 || mask > 128 {
			return badPrefix
		}
		return uint8(mask)
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], mask)
	m := binary.BigEndian.Uint32(b[:])
	n := bits.LeadingZeros32(^m)
	if n == 0 || m != ^uint32(0)<<(32-n) {
		return badPrefix
	}
	return uint8(n)
}

// checkService refuses what cannot be sent as it is meant. The kernel's own
// answer to such a value is the same.
func checkService(s Service) error {
	k := s.Key
	switch {
	case k.Family != 4 && k.Family != 6:
		return unix.EAFNOSUPPORT
	case k.FWMark == 0 && (!k.Addr.IsValid() || k.Addr.Is4() != (k.Family == 4)), k.FWMark != 0 && k.Addr.IsValid(),
		len(s.Scheduler) > 15, len(s.PEName) > 15, s.Timeout < 0, s.Timeout/time.Second > 1<<31-1,
		k.Family == 4 && s.PersistPrefix > 32, k.Family == 6 && s.PersistPrefix > 128:
		return unix.EINVAL
	}
	return nil
}

func checkServer(s Server) error {
	if !s.Key.Addr.IsValid() || s.Forward > 7 {
		return unix.EINVAL
	}
	return nil
}

func checkDaemon(d Daemon) error {
	if len(d.Interface) > 15 {
		return unix.ENODEV
	}
	return nil
}
