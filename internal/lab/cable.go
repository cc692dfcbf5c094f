package lab

import (
	"fmt"
	"slices"

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

// CutBack pulls the cable of the host's eth1, MendBack puts it back.
func (h *Host) CutBack() error {
	return h.onCable("eth1", func(n *netlink.Handle, l, _ netlink.Link) error { return n.LinkSetDown(l) })
}

func (h *Host) MendBack() error {
	return h.onCable("eth1", func(n *netlink.Handle, l, _ netlink.Link) error { return n.LinkSetUp(l) })
}

// Part keeps the directors from hearing one another on the front network; both
// reach everybody else there. Join undoes it.
func (l *Lab) Part() error { return l.isolate(true) }
func (l *Lab) Join() error { return l.isolate(false) }

// isolate: a bridge passes nothing between two ports that are isolated. One that
// is mute is no port, and becomes one again as the directors are then.
func (l *Lab) isolate(on bool) error {
	l.parted = on
	for _, h := range l.Directors {
		if err := h.onPort(func(n *netlink.Handle, p, br netlink.Link) error {
			if p.Attrs().MasterIndex != br.Attrs().Index {
				return nil
			}
			return n.LinkSetIsolated(p, on)
		}); err != nil {
			return err
		}
	}
	return nil
}

// Mute makes the switch port of eth0 silent: the carrier stays, nothing passes.
func (h *Host) Mute() error {
	return h.onPort(func(n *netlink.Handle, l, _ netlink.Link) error { return n.LinkSetNoMaster(l) })
}

// Unmute undoes Mute.
func (h *Host) Unmute() error {
	return h.onPort(func(n *netlink.Handle, l, br netlink.Link) error {
		if err := n.LinkSetMaster(l, br); err != nil {
			return err
		}
		director := slices.Contains(h.lab.Directors, h)
		return n.LinkSetIsolated(l, director && h.lab.parted)
	})
}

func (h *Host) onPort(fn func(n *netlink.Handle, link, bridge netlink.Link) error) error {
	return h.onCable("eth0", fn)
}

func (h *Host) onCable(ifname string, fn func(n *netlink.Handle, link, bridge netlink.Link) error) error {
	p, ok := h.lab.ports[h.Name+" "+ifname]
	if !ok {
		return fmt.Errorf("%s has no %s", h.Name, ifname)
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
