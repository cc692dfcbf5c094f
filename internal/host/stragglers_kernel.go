package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// strayKernel is the machine's straggling.
type strayKernel struct{}

const (
	strayProtocol = 112 // that our rules and routes carry, as our addresses do

	neighbourUsable = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
)

func withRoutes(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot open rtnetlink: %w", err)
	}
	defer h.Close()
	return f(h)
}

func (strayKernel) neighbour(link string, a netip.Addr) (n hop, known bool, err error) {
	err = withRoutes(func(h *netlink.Handle) error {
		l, err := h.LinkByName(link)
		if err != nil {
			return fmt.Errorf("interface %s: %w", link, err)
		}
		n.link = int32(l.Attrs().Index)
		if len(l.Attrs().HardwareAddr) != 6 {
			return fmt.Errorf("interface %s is no Ethernet", link)
		}
		// A router on the way would send it back to whoever holds the address.
		if !onLink(h, l, a) {
			return fmt.Errorf("%s is not on the network of %s", a, link)
		}
		list, err := h.NeighList(int(n.link), familyOf(a))
		if err != nil {
			return fmt.Errorf("cannot list neighbours: %w", err)
		}
		for i := range list {
			if address(list[i].IP) == a.WithZone("") && list[i].State&neighbourUsable != 0 && len(list[i].HardwareAddr) == 6 {
				n.mac, known = [6]byte(list[i].HardwareAddr), true
				return nil
			}
		}
		return h.NeighSet(&netlink.Neigh{LinkIndex: int(n.link), Family: familyOf(a), IP: a.AsSlice(), Flags: netlink.NTF_USE})
	})
	return n, known, err
}

// onLink tells whether an address is reached without a router. (Asked for a way
// over a certain link, the kernel takes everything to be on it.)
func onLink(h *netlink.Handle, l netlink.Link, a netip.Addr) bool {
	if a.IsLinkLocalUnicast() {
		return true
	}
	if list, err := h.AddrList(l, familyOf(a)); err == nil {
		for _, x := range list {
			if x.IPNet != nil && x.Contains(a.AsSlice()) {
				return true
			}
		}
	}
	routes, err := h.RouteGet(a.AsSlice())
	return err == nil && len(routes) > 0 && len(routes[0].Gw) == 0 && routes[0].Via == nil && routes[0].LinkIndex == l.Attrs().Index
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (strayKernel) present(t strayTables) (bool, error) {
	all := true
	err := withNFT(func(c *nftables.Conn) error {
		for _, x := range t.families() {
			list, err := c.ListTablesOfFamily(x.family)
			if err != nil {
				return fmt.Errorf("cannot list nftables tables: %w", err)
			}
			all = all && (x.t == nil) == (strayTable(list, x.family) == nil)
		}
		return nil
	})
	return all, err
}

type familyTable struct {
	family nftables.TableFamily
	af     int
	t      *table
}

func (t strayTables) families() []familyTable {
	return []familyTable{{nftables.TableFamilyIPv4, unix.AF_INET, t.v4}, {nftables.TableFamilyIPv6, unix.AF_INET6, t.v6}}
}

func strayTable(list []*nftables.Table, f nftables.TableFamily) *nftables.Table {
	for _, x := range list {
		if x.Name == StragglerTableName && x.Family == f {
			return x
		}
	}
	return nil
}

func (strayKernel) write(t strayTables) (n strayCount, err error) {
	// A mark without its rule is nothing; a rule without its mark neither.
	for _, x := range t.families() {
		if x.t.takes() {
			if err := deliver(x.af); err != nil {
				return n, err
			}
		}
	}
	err = withNFT(func(c *nftables.Conn) error {
		for _, x := range t.families() {
			if err := n.replace(c, &x); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errNoNFTables) && t.text() == "" {
		err = nil
	}
	if err != nil {
		return n, err
	}
	for _, x := range t.families() {
		if !x.t.takes() {
			err = errors.Join(err, undeliver(x.af))
		}
	}
	return n, err
}

// replace puts a table in the place of what is there, in one transaction.
func (n *strayCount) replace(c *nftables.Conn, x *familyTable) error {
	list, err := c.ListTablesOfFamily(x.family)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return errNoNFTables
	}
	if err != nil {
		return fmt.Errorf("cannot list nftables tables: %w", err)
	}
	old := strayTable(list, x.family)
	if old != nil {
		n.add(c, old)
		c.DelTable(old)
	} else if x.t == nil {
		return nil
	}
	if x.t != nil {
		nt := c.AddTable(&nftables.Table{Name: StragglerTableName, Family: x.family})
		ids := map[string]uint32{}
		for _, s := range x.t.sets {
			if ids[s.name], err = addSet(c, nt, s); err != nil {
				return err
			}
		}
		for _, ch := range x.t.chains {
			addChain(c, nt, ch, ids)
		}
	}
	switch err := c.Flush(); {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("cannot write nftables table %s: %w; is there the module nft_dup_%s?", StragglerTableName, err,
			map[int]string{unix.AF_INET: "ipv4", unix.AF_INET6: "ipv6"}[x.af])
	case err != nil:
		return fmt.Errorf("cannot write nftables table %s: %w", StragglerTableName, err)
	}
	return nil
}

// add counts what a table's rules have let pass.
func (n *strayCount) add(c *nftables.Conn, t *nftables.Table) {
	for name, to := range map[string]*uint64{"input": &n.back, "prerouting": &n.taken} {
		rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: name})
		if err != nil {
			continue // there is no such chain
		}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if x, ok := e.(*expr.Counter); ok {
					*to += x.Packets
				}
			}
		}
	}
}

// The rule by which packets with the mark are delivered here, and its table.

func strayRule(af int) *netlink.Rule {
	r := netlink.NewRule()
	mask := uint32(0xffffffff)
	r.Family, r.Priority, r.Mark, r.Mask, r.Table, r.Protocol = af, strayRoute, strayMark, &mask, strayRoute, strayProtocol
	return r
}

func localRoute(h *netlink.Handle, af int) (*netlink.Route, error) {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	bits := 32
	if af == unix.AF_INET6 {
		bits = 128
	}
	return &netlink.Route{
		LinkIndex: lo.Attrs().Index, Family: af, Table: strayRoute, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Protocol: strayProtocol,
		Dst: &net.IPNet{IP: make(net.IP, bits/8), Mask: net.CIDRMask(0, bits)},
	}, nil
}

func deliver(af int) error {
	return withRoutes(func(h *netlink.Handle) error {
		r, err := localRoute(h, af)
		if err == nil {
			if err = h.RouteReplace(r); err == nil {
				err = h.RuleAdd(strayRule(af))
			}
		}
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot route marked packets to this machine: %w", err)
		}
		return nil
	})
}

// undeliver takes both away, if they are there.
func undeliver(af int) error {
	return withRoutes(func(h *netlink.Handle) error {
		gone := func(err error) bool {
			return err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EAFNOSUPPORT)
		}
		if err := h.RuleDel(strayRule(af)); !gone(err) {
			return fmt.Errorf("cannot remove our routing rule: %w", err)
		}
		r, err := localRoute(h, af)
		if err == nil {
			err = h.RouteDel(r)
		}
		if !gone(err) {
			return fmt.Errorf("cannot remove our route: %w", err)
		}
		return nil
	})
}
