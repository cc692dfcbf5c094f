package host

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// neighboursBehind asks the kernel's neighbour tables. Who is probed is in them.
func neighboursBehind(link string, mac net.HardwareAddr) (out []netip.Addr, err error) {
	err = withRoutes(func(h *netlink.Handle) error {
		l, err := h.LinkByName(link)
		if err != nil {
			return fmt.Errorf("interface %s: %w", link, err)
		}
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			list, err := h.NeighList(l.Attrs().Index, family)
			if err != nil {
				return fmt.Errorf("cannot list neighbours: %w", err)
			}
			for i := range list {
				if slices.Equal(list[i].HardwareAddr, mac) {
					out = append(out, address(list[i].IP))
				}
			}
		}
		return nil
	})
	return out, err
}
