package vip

import (
	"encoding/binary"
	"net/netip"
	"time"

	mnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// AddressProtocol marks our addresses (IFA_PROTO, Linux 5.18 and later; older
// kernels skip the attribute): "ip address show proto 112" lists them. It is
// VRRP's number in the IP header; the kernel itself uses 1 to 3
// (include/uapi/linux/if_addr.h) and keepalived 18.
const AddressProtocol = 112

const ifaProto = 11 // IFA_PROTO

// addressMessage is a request to put an address on a link, in the form of
// struct ifaddrmsg and its attributes (rtnetlink(7)).
func addressMessage(index int, a Address, lifetime time.Duration, flags mnl.HeaderFlags) (mnl.Message, error) {
	ip := a.Prefix.Addr()
	family, ifa := byte(unix.AF_INET6), byte(unix.IFA_F_NODAD)
	if ip.Is4() {
		family, ifa = unix.AF_INET, 0
	}
	// IPv6 goes without duplicate detection: it would keep the address
	// tentative for about a second, and during a hand-over the other node
	// still has it.
	head := []byte{family, byte(a.Prefix.Bits()), ifa, a.Scope}
	head = binary.NativeEndian.AppendUint32(head, uint32(index))

	seconds := uint32((lifetime + time.Second - 1) / time.Second)
	var cache []byte // struct ifa_cacheinfo: preferred, valid, created, updated
	cache = binary.NativeEndian.AppendUint32(cache, seconds)
	cache = binary.NativeEndian.AppendUint32(cache, seconds)
	cache = append(cache, make([]byte, 8)...)

	e := mnl.NewAttributeEncoder()
	e.Bytes(unix.IFA_LOCAL, ip.AsSlice())
	e.Bytes(unix.IFA_ADDRESS, ip.AsSlice())
	if ip.Is4() {
		if b, ok := broadcast(a.Prefix); ok {
			e.Bytes(unix.IFA_BROADCAST, b.AsSlice())
		}
		if a.Label != "" {
			e.String(unix.IFA_LABEL, a.Label)
		}
	}
	e.Bytes(unix.IFA_CACHEINFO, cache)
	e.Uint8(ifaProto, AddressProtocol)
	attrs, err := e.Encode()
	return mnl.Message{
		Header: mnl.Header{Type: unix.RTM_NEWADDR, Flags: mnl.Request | mnl.Acknowledge | flags},
		Data:   append(head, attrs...),
	}, err
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
	d, err := mnl.NewAttributeDecoder(b[head:])
	if err != nil {
		return 0, a, false
	}
	var address, local netip.Addr
	for d.Next() {
		switch d.Type() {
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(d.Bytes())
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(d.Bytes())
		case unix.IFA_LABEL:
			a.Label = d.String()
		case unix.IFA_FLAGS:
			flags = d.Uint32()
		}
	}
	if local.IsValid() { // the other one is the peer's
		address = local
	}
	a.Prefix, a.Permanent = netip.PrefixFrom(address, bits), flags&unix.IFA_F_PERMANENT != 0
	a.Secondary = address.Is4() && flags&unix.IFA_F_SECONDARY != 0
	a.Tentative = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0
	return index, a, d.Err() == nil && a.Prefix.IsValid()
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
