package vrrp

import (
	"crypto/subtle"
	"net/netip"
)

// Validate decides whether the instance may believe a, which Parse has seen
// first: whatever Parse or Validate reject must not reach the machine. own is
// the address that the instance sends from. The reason is the first failing
// check in the order of RFC 9568 section 7.1 (RFC 3768 section 7.1).
//
// mismatch tells that the address list differs from ours as a set. That is a
// configuration error to warn about and to count, and never a reason to drop:
// two nodes that do not listen to each other are two masters.
func (c *Config) Validate(a *Advertisement, h Header, own netip.Addr) (r Reason, mismatch bool) {
	if a.malformed == ReasonTooShort {
		return ReasonTooShort, false
	}
	if c.Mode == Multicast {
		// Only a neighbour on the link can send 255. Routed unicast peers
		// lose hops, and keepalived's IPv6 unicast starts at 64.
		if h.TTL != 255 {
			return ReasonBadTTL, false
		}
		if h.Dst.WithZone("") != c.Family.Group() {
			return ReasonBadDestination, false
		}
	} else {
		if !sameAddr(h.Dst, own) {
			return ReasonBadDestination, false
		}
		if !contains(c.Peers, h.Src) && !sameAddr(h.Src, own) {
			return ReasonUnknownPeer, false
		}
	}
	if a.Version != c.Version || a.malformed == ReasonBadVersion {
		return ReasonBadVersion, false
	}
	if a.malformed == ReasonBadType || a.malformed == ReasonBadVRID {
		return a.malformed, false
	}
	if a.VRID != c.VRID {
		return ReasonUnknownVRID, false
	}
	if a.malformed != ReasonNone {
		return a.malformed, false
	}
	if a.Version == V2 {
		if a.AuthType != c.Auth.Type {
			return ReasonBadAuthType, false
		}
		// With type 0 the data is ignored (RFC 3768 section 5.3.10).
		if a.AuthType == AuthPass && subtle.ConstantTimeCompare(a.AuthData[:], c.Auth.Data[:]) != 1 {
			return ReasonBadAuthData, false
		}
		if a.Interval != c.Interval {
			return ReasonIntervalMismatch, false
		}
	}
	if sameAddr(h.Src, own) {
		return ReasonOwnSource, false
	}
	return ReasonNone, !sameSet(a.Addresses, c.Addresses)
}

// compareAddr orders addresses as unsigned integers in network order, the
// tie-break of RFC 9568 section 6.4.3. A zone is no part of an address.
func compareAddr(a, b netip.Addr) int { return a.WithZone("").Compare(b.WithZone("")) }

func sameAddr(a, b netip.Addr) bool { return a.WithZone("") == b.WithZone("") }

func contains(list []netip.Addr, a netip.Addr) bool {
	for _, x := range list {
		if sameAddr(x, a) {
			return true
		}
	}
	return false
}

// sameSet compares as sets; the usual case of the same order is one pass.
func sameSet(a, b []netip.Addr) bool {
	if len(a) == len(b) {
		same := true
		for i := range a {
			if a[i] != b[i] {
				same = false
				break
			}
		}
		if same {
			return true
		}
	}
	for _, x := range a {
		if !contains(b, x) {
			return false
		}
	}
	for _, x := range b {
		if !contains(a, x) {
			return false
		}
	}
	return true
}
