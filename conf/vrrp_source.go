package conf

import (
	"fmt"
	"slices"

	"lvs-ha/vrrp"
)

// source is the address to send from. Unicast peers know this node by its
// address in [nodes], so that one is taken if the interface has it.
func (b *builder) source(i *vrrp.Instance, v view) {
	c := &i.Config
	if c.Mode == vrrp.Unicast {
		for _, n := range b.out.Nodes {
			if n.Name == b.out.Node && n.Address.IsValid() && familyOf(n.Address) == c.Family {
				i.Prefer = n.Address
			}
		}
	}
	a, ok := b.plainAddr(v, "source")
	if !ok || c.Family == 0 {
		return
	}
	virtual := func(list []vrrp.Address) bool {
		return slices.ContainsFunc(list, func(x vrrp.Address) bool { return x.Prefix.Addr() == a })
	}
	switch {
	case familyOf(a) != c.Family:
		v.bad("source", fmt.Sprintf("is %s, but the instance has IPv%d addresses", familyName(a), c.Family), "name an address of that family that the interface has")
	case c.Mode == vrrp.Multicast && c.Family == vrrp.IPv6 && !a.IsLinkLocalUnicast():
		v.bad("source", "is not link-local, and IPv6 advertisements to the multicast group come from a link-local address", "name a link-local address of the interface, or remove it")
	case c.Priority != vrrp.OwnerPriority && (virtual(i.Addresses) || virtual(i.Excluded)):
		v.bad("source", "is a virtual address, which a backup does not have", "name an address that the interface has for good")
	default:
		i.Source = a
		if v.height("source") == 0 && len(b.out.Nodes) > 1 {
			v.warn("source", "is for every node, but belongs to one machine", "move it to [nodes.NAME.vrrp."+i.Name+"]")
		}
	}
}
