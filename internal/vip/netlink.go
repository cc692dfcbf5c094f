package vip

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	mnl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netlinkKernel is the real one. It is safe for many goroutines: handle and
// socket are locked for each request.
type netlinkKernel struct {
	h     *netlink.Handle
	write *requests // for new addresses, whose protocol the handle cannot set
}

func openNetlink() (*netlinkKernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open a route netlink socket: %w", err)
	}
	w, err := openRequests()
	if err != nil {
		h.Close()
		return nil, err
	}
	return &netlinkKernel{h, w}, nil
}

func (k *netlinkKernel) close() {
	k.h.Close()
	k.write.close()
}

func (k *netlinkKernel) Lookup(name string) (Interface, error) {
	l, err := k.h.LinkByName(name)
	if err != nil {
		var gone netlink.LinkNotFoundError
		if errors.As(err, &gone) {
			return Interface{Name: name}, ErrAbsent
		}
		return Interface{Name: name}, classify(err)
	}
	return linkOf(l.Attrs()), nil
}

func linkOf(a *netlink.LinkAttrs) Interface {
	return Interface{
		Name: a.Name, Index: a.Index, MTU: a.MTU, HardwareAddr: a.HardwareAddr,
		Up: a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0,
	}
}

func (k *netlinkKernel) List(index int) ([]InterfaceAddress, error) {
	all, whole, err := k.listAll()
	if err == nil && !whole {
		err = errDisturbed
	}
	return all[index], err
}

// errDisturbed: a dump goes on by position, so that it may lack something that
// was there all the time when something before it went meanwhile.
var errDisturbed = errors.New("addresses were added and removed all the time while they were listed")

// attempts at a list that was disturbed.
const attempts = 8

// undisturbed repeats a dump that was disturbed, and tells whether it still was.
func undisturbed[T any](dump func() (T, error)) (list T, whole bool, err error) {
	for range attempts {
		if list, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err == nil, classify(err)
		}
	}
	return list, false, nil
}

// listAll reads the addresses of all links.
func (k *netlinkKernel) listAll() (list map[int][]InterfaceAddress, whole bool, err error) {
	addrs, whole, err := undisturbed(func() ([]netlink.Addr, error) { return k.h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, false, err
	}
	out := make(map[int][]InterfaceAddress)
	for i := range addrs {
		a := &addrs[i]
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		ia := InterfaceAddress{
			Prefix: p, Label: a.Label, Scope: uint8(a.Scope),
			Permanent: a.Flags&unix.IFA_F_PERMANENT != 0,
			// In IPv6 the same bit means "temporary".
			Secondary: p.Addr().Is4() && a.Flags&unix.IFA_F_SECONDARY != 0,
			Tentative: a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0,
		}
		if !ia.Permanent && uint32(a.ValidLft) != math.MaxUint32 {
			ia.Lifetime = time.Duration(uint32(a.ValidLft)) * time.Second
		}
		out[a.LinkIndex] = append(out[a.LinkIndex], ia)
	}
	return out, whole, nil
}

// interfaces lists all links with their addresses; whole is false where
// something may be lacking.
func (k *netlinkKernel) interfaces() (view map[string]Interface, whole bool, err error) {
	links, whole1, err := undisturbed(k.h.LinkList)
	if err != nil {
		return nil, false, err
	}
	addrs, whole2, err := k.listAll()
	if err != nil {
		return nil, false, err
	}
	out := make(map[string]Interface, len(links))
	for _, l := range links {
		in := linkOf(l.Attrs())
		in.Addresses = addrs[in.Index]
		out[in.Name] = in
	}
	return out, whole1 && whole2, nil
}

func (k *netlinkKernel) Add(index int, a Address, lifetime time.Duration) error {
	return k.put(index, a, lifetime, mnl.Create|mnl.Excl)
}

func (k *netlinkKernel) Renew(index int, a Address, lifetime time.Duration) error {
	return k.put(index, a, lifetime, mnl.Create|mnl.Replace)
}

func (k *netlinkKernel) put(index int, a Address, lifetime time.Duration, flags mnl.HeaderFlags) error {
	var buf [256]byte
	err := k.write.do(unix.RTM_NEWADDR, flags, appendAddress(buf[:0], index, a, lifetime))
	if errors.Is(err, unix.EACCES) && a.Prefix.Addr().Is6() {
		return errNoIPv6 // net/ipv6/addrconf.c addrconf_add_dev
	}
	return classify(err)
}

func (k *netlinkKernel) Delete(index int, p netip.Prefix) error {
	return classify(k.h.AddrDel(nil, &netlink.Addr{IPNet: ipNetOf(p), LinkIndex: index}))
}

func ipNetOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones), ok
}

var errNoIPv6 = errors.New("IPv6 is turned off there (sysctl net.ipv6.conf.INTERFACE.disable_ipv6)")

// classify turns errnos into our errors once, at the boundary.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return ErrExists
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return ErrNotThere
	case errors.Is(err, unix.ENODEV):
		return ErrAbsent
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return ErrNotAllowed
	}
	return err
}
