package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Protocol is the IP protocol number of VRRP.
const Protocol = 112

// Versions of the protocol.
const (
	V2 Version = 2 // RFC 3768, IPv4 only
	V3 Version = 3 // RFC 9568
)

// OwnerPriority belongs to the router that owns the addresses.
const OwnerPriority = 255

// Groups that advertisements are sent to in multicast mode.
var (
	GroupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupIPv6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// Group is the multicast group of the family.
func (f Family) Group() netip.Addr {
	if f == IPv6 {
		return GroupIPv6
	}
	return GroupIPv4
}

const (
	typeAdvertisement = 1
	headerLen         = 8
	authLen           = 8 // v2 only, always present
	centisecond       = 10 * time.Millisecond
	maxCentiseconds   = 0x0fff
)

// MaxAddresses is how many addresses an advertisement can name.
const MaxAddresses = 255

// Header is what the IP header of a received packet said.
type Header struct {
	Family   Family
	Src, Dst netip.Addr
	// TTL or hop limit, 0..255; -1 where it is not known.
	TTL int
}

// Advertisement is a decoded VRRP message, of version 2 or 3.
type Advertisement struct {
	Version  Version
	VRID     uint8
	Priority uint8
	// Interval: v2 whole seconds, v3 steps of 10 ms. Not 0 in an accepted v3 message.
	Interval  time.Duration
	AuthType  AuthType // v2
	AuthData  [8]byte  // v2
	Addresses []netip.Addr
	// ChecksumForm that the message had; it differs only for v3 over IPv4.
	ChecksumForm Checksum

	// malformed is what Parse found, so that Validate can report the first
	// failing check in order.
	malformed Reason
}

// Parse decodes b, the VRRP message behind the IP header h. It reuses
// a.Addresses and does not keep b. The answer is ReasonNone for a well-formed
// advertisement; Validate has to follow before an instance may believe it.
// After a failure a holds what was decoded before it.
func (a *Advertisement) Parse(b []byte, h Header) Reason {
	a.malformed = a.parse(b, h)
	return a.malformed
}

func (a *Advertisement) parse(b []byte, h Header) Reason {
	*a = Advertisement{Addresses: a.Addresses[:0]}
	if len(b) < headerLen {
		return ReasonTooShort
	}
	a.Version = Version(b[0] >> 4)
	a.VRID, a.Priority = b[1], b[2]
	if a.Version != V3 && (a.Version != V2 || h.Family == IPv6) {
		return ReasonBadVersion
	}
	if b[0]&0xf != typeAdvertisement {
		return ReasonBadType
	}
	if a.VRID == 0 {
		return ReasonBadVRID
	}
	n := int(b[3])
	if n == 0 {
		return ReasonZeroAddresses
	}
	size := 4
	if h.Family == IPv6 {
		size = 16
	}
	end := headerLen + n*size
	want := end
	if a.Version == V2 {
		want += authLen
	}
	if len(b) != want {
		return ReasonLengthMismatch
	}
	form, ok := verifyChecksum(b, a.Version, h)
	if !ok {
		return ReasonBadChecksum
	}
	a.ChecksumForm = form
	if a.Version == V2 {
		a.AuthType = AuthType(b[4])
		a.Interval = time.Duration(b[5]) * time.Second
		copy(a.AuthData[:], b[end:])
	} else {
		// The four bits above the interval are reserved: ignored.
		a.Interval = time.Duration(binary.BigEndian.Uint16(b[4:])&maxCentiseconds) * centisecond
		if a.Interval == 0 {
			return ReasonBadInterval
		}
	}
	for at := headerLen; at < end; at += size {
		if size == 4 {
			a.Addresses = append(a.Addresses, netip.AddrFrom4([4]byte(b[at:])))
		} else {
			a.Addresses = append(a.Addresses, netip.AddrFrom16([16]byte(b[at:])))
		}
	}
	return ReasonNone
}

// Append adds the message to b as it goes from src to dst, with the checksum
// form c where there is a choice (v3 over IPv4). The family is that of src.
// The caller sees to it that the fields are in range: 1..MaxAddresses
// addresses of the family of src; the interval is rounded to the next step of
// the version and brought into its range.
func (a *Advertisement) Append(b []byte, c Checksum, src, dst netip.Addr) []byte {
	start := len(b)
	b = append(b, byte(a.Version)<<4|typeAdvertisement, a.VRID, a.Priority, byte(len(a.Addresses)))
	if a.Version == V2 {
		seconds := min(max((a.Interval+time.Second/2)/time.Second, 1), 255)
		b = append(b, byte(a.AuthType), byte(seconds))
	} else {
		cs := min(max((a.Interval+centisecond/2)/centisecond, 1), maxCentiseconds)
		b = binary.BigEndian.AppendUint16(b, uint16(cs))
	}
	b = append(b, 0, 0)
	for _, addr := range a.Addresses {
		if addr.Is4() {
			x := addr.As4()
			b = append(b, x[:]...)
		} else {
			x := addr.As16()
			b = append(b, x[:]...)
		}
	}
	if a.Version == V2 {
		b = append(b, a.AuthData[:]...)
	}
	m := b[start:]
	binary.BigEndian.PutUint16(m[6:], ^sumFor(m, a.Version, c, src, dst))
	return b
}
