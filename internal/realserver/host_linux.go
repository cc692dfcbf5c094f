package realserver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/sysctl"
)

// host is the machine: /proc/sys and rtnetlink of one network namespace.
type host struct {
	nl *netlink.Handle
}

func openHost() (*host, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open rtnetlink: %w", err)
	}
	return &host{nl}, nil
}

func (h *host) close() { h.nl.Close() }

// look holds one step against the machine.
func (h *host) look(s Step) (Finding, error) {
	f := Finding{Step: s}
	switch s.Kind {
	case Sysctl:
		have, err := effective(s)
		if errors.Is(err, fs.ErrNotExist) {
			f.Have = "no such setting (is the device there?)"
			return f, nil
		}
		if err != nil {
			return f, err
		}
		f.OK = have == s.Value || slices.Contains(s.Accept, have)
		f.Have = have
	case LinkPresent, LinkAbsent, LinkUp, LinkDown:
		l, err := h.link(s.Link)
		if err != nil {
			return f, err
		}
		up := l != nil && l.Attrs().Flags&net.FlagUp != 0
		switch s.Kind {
		case LinkPresent:
			f.OK, f.Have = l != nil, "no such link"
			if l != nil && l.Type() != s.LinkType {
				f.OK, f.Have = false, "a link of type "+l.Type()
			}
		case LinkAbsent:
			f.OK, f.Have = l == nil, "link is there"
		case LinkUp:
			f.OK, f.Have = up, "link is down or absent"
		default:
			f.OK, f.Have = !up, "link is up"
		}
	case Address, NoAddress:
		has, err := h.hasAddress(s.Link, s.Prefix)
		if err != nil {
			return f, err
		}
		f.OK, f.Have = has == (s.Kind == Address), "no such address"
		if has {
			f.Have = "address is there"
		}
	default:
		return f, fmt.Errorf("unknown kind %q", s.Kind)
	}
	if f.OK {
		f.Have = ""
	}
	return f, nil
}

// effective is the value that the kernel obeys.
func effective(s Step) (string, error) {
	v, err := sysctl.Read(s.Key)
	if err != nil || s.MaxKey == "" {
		return v, err
	}
	w, err := sysctl.Read(s.MaxKey)
	if err != nil {
		return "", err
	}
	a, err1 := strconv.Atoi(v)
	b, err2 := strconv.Atoi(w)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	return strconv.Itoa(max(a, b)), nil
}

// do makes one step true, which it is not yet, and returns its opposite.
func (h *host) do(s Step) (Step, error) {
	switch s.Kind {
	case Sysctl:
		old, err := sysctl.Read(s.Key)
		if err != nil {
			return Step{}, err
		}
		if err := sysctl.Write(s.Key, s.Value); err != nil {
			return Step{}, err
		}
		return Step{Kind: Sysctl, Key: s.Key, Value: old}, nil
	case LinkPresent:
		return Step{Kind: LinkAbsent, Link: s.Link, LinkType: s.LinkType}, h.addLink(s)
	case LinkAbsent:
		l, err := h.link(s.Link)
		if err == nil && l != nil {
			err = h.nl.LinkDel(l)
		}
		// tunl0 of the module stays for as long as the module does.
		if s.LinkType == "ipip" {
			err = nil
		}
		return Step{Kind: LinkPresent, Link: s.Link, LinkType: s.LinkType}, err
	case LinkUp, LinkDown:
		l, err := h.link(s.Link)
		if err != nil {
			return Step{}, err
		}
		if l == nil {
			return Step{}, fmt.Errorf("there is no link %s", s.Link)
		}
		if s.Kind == LinkUp {
			return Step{Kind: LinkDown, Link: s.Link}, h.nl.LinkSetUp(l)
		}
		return Step{Kind: LinkUp, Link: s.Link}, h.nl.LinkSetDown(l)
	case Address, NoAddress:
		l, err := h.link(s.Link)
		if err != nil {
			return Step{}, err
		}
		if l == nil {
			return Step{}, fmt.Errorf("there is no link %s", s.Link)
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: s.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(s.Prefix.Bits(), s.Prefix.Addr().BitLen())}}
		if s.Prefix.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if s.Kind == Address {
			return Step{Kind: NoAddress, Link: s.Link, Prefix: s.Prefix}, h.nl.AddrAdd(l, a)
		}
		return Step{Kind: Address, Link: s.Link, Prefix: s.Prefix}, h.nl.AddrDel(l, a)
	}
	return Step{}, fmt.Errorf("unknown kind %q", s.Kind)
}

// addLink makes a device. Asking for one of a kind that the kernel does not
// know makes the kernel load the module that has it.
func (h *host) addLink(s Step) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = s.Link
	var l netlink.Link
	switch s.LinkType {
	case "dummy":
		l = &netlink.Dummy{LinkAttrs: attrs}
	case "ipip":
		// Neither end is set: it takes packets of any sender, as tunl0 does.
		l = &netlink.Iptun{LinkAttrs: attrs}
	default:
		return fmt.Errorf("unknown type of link %q", s.LinkType)
	}
	err := h.nl.LinkAdd(l)
	if errors.Is(err, unix.EEXIST) && s.LinkType == "ipip" {
		// Loading the module has made tunl0, in every namespace.
		if have, lerr := h.link(s.Link); lerr == nil && have != nil && have.Type() == s.LinkType {
			return nil
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("the kernel has no module %s; load it with: modprobe %s", s.LinkType, s.LinkType)
	}
	if err != nil {
		return err
	}
	if s.LinkType != "dummy" {
		return nil
	}
	have, err := h.link(s.Link)
	if err != nil || have == nil {
		return err
	}
	return h.nl.LinkSetARPOff(have)
}

// link is nil without an error if there is no such link.
func (h *host) link(name string) (netlink.Link, error) {
	l, err := h.nl.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	return l, err
}

func (h *host) addresses(dev string) ([]netip.Prefix, error) {
	l, err := h.link(dev)
	if err != nil || l == nil {
		return nil, err
	}
	list, err := h.nl.AddrList(l, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		out = append(out, netip.PrefixFrom(ip.Unmap(), bits))
	}
	return out, nil
}

func (h *host) hasAddress(dev string, p netip.Prefix) (bool, error) {
	list, err := h.addresses(dev)
	return slices.Contains(list, p), err
}

// otherAddresses tells whether dev holds host addresses besides the given ones.
func (h *host) otherAddresses(dev string, vips []netip.Addr) (bool, error) {
	list, err := h.addresses(dev)
	return slices.ContainsFunc(list, func(p netip.Prefix) bool {
		return p.IsSingleIP() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() && !slices.Contains(vips, p.Addr())
	}), err
}
