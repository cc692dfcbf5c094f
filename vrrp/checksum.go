package vrrp

import "net/netip"

// sum16 adds b to the ones' complement sum s (RFC 1071), without folding.
func sum16(s uint32, b []byte) uint32 {
	for len(b) >= 2 {
		s += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// pseudo sums the pseudo-header: of IPv4 (RFC 793 section 3.1) or IPv6
// (RFC 8200 section 8.1). The two differ only in the length of the addresses,
// for the zero octets add nothing.
func pseudo(src, dst netip.Addr, length int) uint32 {
	s := uint32(Protocol) + uint32(length)
	if src.Is4() && dst.Is4() {
		x, y := src.As4(), dst.As4()
		return sum16(sum16(s, x[:]), y[:])
	}
	x, y := src.As16(), dst.As16()
	return sum16(sum16(s, x[:]), y[:])
}

// sumFor is the folded sum of message m over what its version covers:
// v2 the message; v3 IPv6 message and pseudo-header; v3 IPv4 by form
// (RFC 9568 section 5.2.8: the message; deployed programs: both).
func sumFor(m []byte, v Version, c Checksum, src, dst netip.Addr) uint16 {
	s := sum16(0, m)
	if v == V3 && (c == ChecksumPseudoHeader || !src.Is4()) {
		s += pseudo(src, dst, len(m))
	}
	return fold(s)
}

// verifyChecksum says whether a form fits, and which one.
func verifyChecksum(m []byte, v Version, h Header) (Checksum, bool) {
	const good = 0xffff
	plain := sum16(0, m)
	if v == V2 {
		return ChecksumMessageOnly, fold(plain) == good
	}
	if fold(plain+pseudo(h.Src, h.Dst, len(m))) == good {
		return ChecksumPseudoHeader, true
	}
	return ChecksumMessageOnly, h.Family == IPv4 && fold(plain) == good
}
