package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Flow names the connections of one service to one of its servers, as
// connection tracking knows them with net.ipv4.vs.conntrack = 1: the original
// direction goes to the virtual address, the answers come from the server.
type Flow struct {
	Protocol uint8          // 0 for any
	Virtual  netip.AddrPort // invalid for any, port 0 for every port
	Server   netip.AddrPort // port 0 for every port
}

// matches tells whether an entry is one of them.
func (f *Flow) matches(protocol uint8, to, from netip.AddrPort) bool {
	if f.Protocol != 0 && f.Protocol != protocol {
		return false
	}
	if f.Virtual.IsValid() && (f.Virtual.Addr() != to.Addr() || f.Virtual.Port() != 0 && f.Virtual.Port() != to.Port()) {
		return false
	}
	// What goes straight to the server is not IPVS's.
	return to != from && f.Server.Addr() == from.Addr() && (f.Server.Port() == 0 || f.Server.Port() == from.Port())
}

// flows is a filter of entries; any of them will do.
type flows []Flow

// MatchConntrackFlow is part of netlink.CustomConntrackFilter.
func (fs flows) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	to, from := addrPort(c.Forward.DstIP, c.Forward.DstPort), addrPort(c.Reverse.SrcIP, c.Reverse.SrcPort)
	for i := range fs {
		if fs[i].matches(c.Forward.Protocol, to, from) {
			return true
		}
	}
	return false
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), port)
}

// endFlows deletes the entries of the flows in one walk through the table.
func (kernel) endFlows(list []Flow) (int, error) {
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, fmt.Errorf("cannot open conntrack: %w", err)
	}
	defer h.Close()
	var n uint
	for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		var of flows
		for _, x := range list {
			if x.Server.Addr().Is6() == (f == unix.AF_INET6) {
				of = append(of, x)
			}
		}
		if len(of) == 0 {
			continue
		}
		k, ferr := h.ConntrackDeleteFilters(netlink.ConntrackTable, f, of)
		n += k
		// Entries that came or went during the walk are no failure.
		if ferr != nil && !errors.Is(ferr, netlink.ErrDumpInterrupted) {
			err = errors.Join(err, fmt.Errorf("cannot delete conntrack entries: %w", ferr))
		}
	}
	return int(n), err
}

// End makes connection tracking forget connections to servers that were
// removed, soon. Where IPVS does not use connection tracking there are none.
func (k *Keeper) End(list []Flow) {
	if len(list) == 0 {
		return
	}
	k.mu.Lock()
	k.ending = append(k.ending, list...)
	k.mu.Unlock()
	k.kick()
}

func (k *Keeper) end(list []Flow) {
	if v, err := k.m.readSysctl("net.ipv4.vs.conntrack"); err != nil || v != "1" {
		return
	}
	n, err := k.m.endFlows(list)
	if err != nil {
		k.log.Warn("connections to removed servers may go on until they time out", "event", "conntrack_failed", "err", err)
	}
	if n > 0 {
		k.log.Info("connections to removed servers ended", "event", "conntrack_ended", "entries", n, "servers", len(list))
	}
}
