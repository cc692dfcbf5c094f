package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	mnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Event is news of the path to some addresses. It is a hint: what it means for
// a server is for a probe to find out.
type Event struct {
	Kind string // EventNeighbour, EventRoute, EventLink, EventLost
	Text string // for people
	// concerns tells of an address whose path goes by hop and link.
	concerns func(a netip.Addr, via route) bool
	routes   routes
}

// Kinds of events.
const (
	EventNeighbour = "neighbour" // it does not answer, or has another hardware address
	EventRoute     = "route"     // came, went or changed
	EventLink      = "link"      // went down or came up
	EventLost      = "lost"      // of some, nobody knows which
)

// Concerns tells whether the path to an address may be concerned.
func (e *Event) Concerns(a netip.Addr) bool {
	a = a.Unmap()
	return e.concerns(a, e.routes.to(a))
}

// route is what matters here of one.
type route struct {
	prefix  netip.Prefix
	link    int32      // 0 for none or several
	gateway netip.Addr // invalid for none or several
}

type routes []route

// to is the most precise route to an address; the zero value without one.
func (rs routes) to(a netip.Addr) (best route) {
	for _, r := range rs {
		if r.prefix.Contains(a) && (!best.prefix.IsValid() || r.prefix.Bits() > best.prefix.Bits()) {
			best = r
		}
	}
	return best
}

// paths is what is known of links and neighbours, to tell changes from the
// kernel's routine.
type paths struct {
	up        map[int32]bool
	neighbour map[neighbour][6]byte // hardware addresses
	routes    routes
}

type neighbour struct {
	link int32
	addr netip.Addr
}

// maxNeighbours bounds what is remembered; beyond that all is forgotten.
const maxNeighbours = 1 << 16

func newPaths() *paths {
	return &paths{up: map[int32]bool{}, neighbour: map[neighbour][6]byte{}}
}

// attributes of a message after a header of n octets; false if there is none so long.
func attributes(b []byte, n int) (map[uint16][]byte, bool) {
	if len(b) < n {
		return nil, false
	}
	list, err := mnl.UnmarshalAttributes(b[n:])
	if err != nil {
		return nil, false
	}
	m := make(map[uint16][]byte, len(list))
	for _, a := range list {
		m[a.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = a.Data
	}
	return m, true
}

func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

// take learns from a message and tells what is news in it, nil for nothing.
func (p *paths) take(m mnl.Message) *Event {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return p.takeLink(m)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return p.takeNeighbour(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return p.takeRoute(m)
	}
	return nil
}

// takeLink: struct ifinfomsg of 16 octets.
func (p *paths) takeLink(m mnl.Message) *Event {
	attrs, ok := attributes(m.Data, 16)
	// What bridges and the like tell of their ports has a family.
	if !ok || m.Data[0] != unix.AF_UNSPEC {
		return nil
	}
	index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
	const needs = unix.IFF_UP | unix.IFF_LOWER_UP
	up := m.Header.Type == unix.RTM_NEWLINK && binary.NativeEndian.Uint32(m.Data[8:])&needs == needs
	was, known := p.up[index]
	if p.up[index] = up; m.Header.Type == unix.RTM_DELLINK {
		delete(p.up, index)
	}
	if !known || was == up {
		return nil
	}
	word := map[bool]string{true: "up", false: "down"}[up]
	name := ""
	if b := attrs[unix.IFLA_IFNAME]; len(b) > 0 {
		name = string(b[:len(b)-1])
	}
	return &Event{Kind: EventLink, Text: fmt.Sprintf("link %s is %s", name, word), routes: p.routes,
		concerns: func(_ netip.Addr, via route) bool { return via.link == index }}
}

// takeNeighbour: struct ndmsg of 12 octets. The states of a healthy neighbour
// come and go all the time and are no news.
func (p *paths) takeNeighbour(m mnl.Message) *Event {
	attrs, ok := attributes(m.Data, 12)
	if !ok || m.Data[0] != unix.AF_INET && m.Data[0] != unix.AF_INET6 {
		return nil
	}
	n := neighbour{int32(binary.NativeEndian.Uint32(m.Data[4:])), address(attrs[unix.NDA_DST])}
	if !n.addr.IsValid() {
		return nil
	}
	event := func(what string) *Event {
		return &Event{Kind: EventNeighbour, Text: fmt.Sprintf("neighbour %s %s", n.addr, what), routes: p.routes,
			concerns: func(a netip.Addr, via route) bool { return a == n.addr || via.gateway == n.addr }}
	}
	if m.Header.Type == unix.RTM_DELNEIGH {
		delete(p.neighbour, n)
		return nil
	}
	if binary.NativeEndian.Uint16(m.Data[8:])&unix.NUD_FAILED != 0 {
		return event("does not answer")
	}
	b := attrs[unix.NDA_LLADDR]
	if len(b) != 6 {
		return nil
	}
	was, known := p.neighbour[n]
	if !known && len(p.neighbour) >= maxNeighbours {
		clear(p.neighbour)
	}
	if p.neighbour[n] = [6]byte(b); known && was != [6]byte(b) {
		return event("has another hardware address")
	}
	return nil
}

// takeRoute tells of every change. The routes themselves are listed again later.
func (p *paths) takeRoute(m mnl.Message) *Event {
	r, ok := parseRoute(m)
	if !ok {
		return nil
	}
	word := map[bool]string{true: "changed", false: "is gone"}[m.Header.Type == unix.RTM_NEWROUTE]
	return &Event{Kind: EventRoute, Text: fmt.Sprintf("route to %s %s", r.prefix, word),
		concerns: func(a netip.Addr, _ route) bool { return r.prefix.Contains(a) }}
}

// parseRoute: struct rtmsg of 12 octets. Not ok for what is no route to other machines.
func parseRoute(m mnl.Message) (r route, ok bool) {
	attrs, ok := attributes(m.Data, 12)
	if !ok {
		return r, false
	}
	var any netip.Addr
	switch m.Data[0] {
	case unix.AF_INET:
		any = netip.IPv4Unspecified()
	case unix.AF_INET6:
		any = netip.IPv6Unspecified()
	default:
		return r, false
	}
	switch m.Data[7] {
	case unix.RTN_UNICAST, unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT:
	default:
		return r, false
	}
	if binary.NativeEndian.Uint32(m.Data[8:])&unix.RTM_F_CLONED != 0 {
		return r, false // made by the kernel for one destination
	}
	to := any
	if b, has := attrs[unix.RTA_DST]; has {
		to = address(b)
	}
	if r.prefix, ok = prefix(to, int(m.Data[1])); !ok || to.Is4() != any.Is4() {
		return r, false
	}
	if b := attrs[unix.RTA_OIF]; len(b) == 4 {
		r.link = int32(binary.NativeEndian.Uint32(b))
	}
	r.gateway = address(attrs[unix.RTA_GATEWAY])
	return r, true
}

func prefix(a netip.Addr, bits int) (netip.Prefix, bool) {
	p, err := a.Prefix(bits)
	return p, err == nil
}
