package lab

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Cut pulls the cable of the host's eth0: its carrier goes.
func (h *Host) Cut() error {
	return h.onPort(func(n *netlink.Handle, l, _ netlink.Link) error { return n.LinkSetDown(l) })
}

// Mend puts the cable back.
func (h *Host) Mend() error {
	return h.onPort(func(n *netlink.Handle, l, _ netlink.Link) error { return n.LinkSetUp(l) })
}

// Mute makes the switch port of eth0 silent: the carrier stays, nothing passes.
func (h *Host) Mute() error {
	return h.onPort(func(n *netlink.Handle, l, _ netlink.Link) error { return n.LinkSetNoMaster(l) })
}

// Unmute undoes Mute.
func (h *Host) Unmute() error {
	return h.onPort(func(n *netlink.Handle, l, br netlink.Link) error { return n.LinkSetMaster(l, br) })
}

func (h *Host) onPort(fn func(n *netlink.Handle, link, bridge netlink.Link) error) error {
	p, ok := h.lab.ports[h.Name+" eth0"]
	if !ok {
		return fmt.Errorf("%s has no eth0", h.Name)
	}
	n := h.lab.net.nl
	l, err := n.LinkByName(p.link)
	if err != nil {
		return err
	}
	br, err := n.LinkByName(p.bridge)
	if err != nil {
		return err
	}
	return fn(n, l, br)
}
