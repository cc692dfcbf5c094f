package vip

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// AddressProtocol marks our addresses (IFA_PROTO, Linux 5.18 and later; older
// kernels skip the attribute): "ip address show proto 112" lists them. It is
// VRRP's number in the IP header; the kernel itself uses 1 to 3
// (include/uapi/linux/if_addr.h) and keepalived 18.
const AddressProtocol = 112

const ifaProto = 11 // IFA_PROTO

// appendAddress appends the body of a request to put an address on a link:
// struct ifaddrmsg and its attributes (rtnetlink(7)).
func appendAddress(b []byte, index int, a Address, lifetime time.Duration) []byte {
	ip := a.Prefix.Addr()
	if ip.Is4() {
		b = append(b, unix.AF_INET, byte(a.Prefix.Bits()), 0, a.Scope)
	} else {
		// Without duplicate detection: it would keep the address tentative for
		// about a second, and during a hand-over the other node still has it.
		b = append(b, unix.AF_INET6, byte(a.Prefix.Bits()), unix.IFA_F_NODAD, a.Scope)
	}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = appendIP(b, unix.IFA_LOCAL, ip)
	b = appendIP(b, unix.IFA_ADDRESS, ip)
	if ip.Is4() {
		if x, ok := broadcast(a.Prefix); ok {
			b = appendIP(b, unix.IFA_BROADCAST, x)
		}
		if a.Label != "" {
			b = appendAttribute(b, unix.IFA_LABEL, append([]byte(a.Label), 0))
		}
	}
	// struct ifa_cacheinfo: preferred, valid, created, updated
	var cache [16]byte
	seconds := uint32((lifetime + time.Second - 1) / time.Second)
	if ip.Is4() {
		binary.NativeEndian.PutUint32(cache[0:], seconds)
	}
	// IPv6 chooses the address that is nearest to the neighbour as the source of
	// what this machine sends itself (RFC 6724): that would be the virtual one,
	// and a real server that has it, too, would answer itself. With a preferred
	// lifetime of 0 it is taken only where there is no other. IPv4 has no such rule.
	binary.NativeEndian.PutUint32(cache[4:], seconds)
	b = appendAttribute(b, unix.IFA_CACHEINFO, cache[:])
	return appendAttribute(b, ifaProto, []byte{AddressProtocol})
}

func appendIP(b []byte, typ uint16, a netip.Addr) []byte {
	if a.Is4() {
		x := a.As4()
		return appendAttribute(b, typ, x[:])
	}
	x := a.As16()
	return appendAttribute(b, typ, x[:])
}

// appendAttribute appends type and length, value, and zeros up to a multiple of four.
func appendAttribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

// parseAddress reads an address message of the kernel; the lifetime is left out.
func parseAddress(b []byte) (index int, a InterfaceAddress, ok bool) {
	const head = 8
	if len(b) < head {
		return 0, a, false
	}
	index = int(binary.NativeEndian.Uint32(b[4:]))
	flags, bits := uint32(b[2]), int(b[1])
	a.Scope = b[3]
	var address, local netip.Addr
	for b = b[head:]; len(b) >= 4; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return 0, a, false
		}
		value := b[4:n]
		switch binary.NativeEndian.Uint16(b[2:]) {
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(value)
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_LABEL:
			a.Label = unix.ByteSliceToString(value)
		case unix.IFA_FLAGS:
			if len(value) == 4 {
				flags = binary.NativeEndian.Uint32(value)
			}
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	if local.IsValid() { // the other one is the peer's
		address = local
	}
	a.Prefix, a.Permanent = netip.PrefixFrom(address, bits), flags&unix.IFA_F_PERMANENT != 0
	a.Secondary = address.Is4() && flags&unix.IFA_F_SECONDARY != 0
	a.Tentative = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0
	return index, a, a.Prefix.IsValid()
}

// broadcast address of an IPv4 subnet; the smallest ones have none (RFC 3021).
func broadcast(p netip.Prefix) (netip.Addr, bool) {
	if p.Bits() > 30 {
		return netip.Addr{}, false
	}
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|(1<<(32-p.Bits())-1))
	return netip.AddrFrom4(b), true
}
