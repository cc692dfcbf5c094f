package vip

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Address is one virtual address and where it goes.
type Address struct {
	Prefix    netip.Prefix
	Interface string
	// Label of an IPv4 address, "" for none.
	Label string
	// Scope as rtnetlink has it: 0 global, 253 link, 254 host.
	Scope uint8
}

// Interface is a link as it is now. Index 0 means that there is none of that name.
type Interface struct {
	Name         string
	Index        int
	Up           bool // set up and with a carrier
	MTU          int
	HardwareAddr net.HardwareAddr
	Addresses    []InterfaceAddress // in the kernel's order; nil if not asked for
}

// InterfaceAddress is an address as the kernel has it.
type InterfaceAddress struct {
	Prefix    netip.Prefix
	Label     string
	Scope     uint8
	Permanent bool
	Secondary bool          // IPv4: not the first of its subnet
	Tentative bool          // IPv6: duplicate detection has not ended, or it failed
	Lifetime  time.Duration // remaining, when not permanent; whole seconds
}

// Errors of the kernel, classed.
var (
	ErrAbsent     = errors.New("there is no such interface")
	ErrExists     = errors.New("the address is there already")
	ErrNotThere   = errors.New("the address is not there")
	ErrNotAllowed = errors.New("not permitted (CAP_NET_ADMIN)")
)

// kernel is what a holder needs of the machine.
type kernel interface {
	// Lookup finds a link by name, without its addresses; ErrAbsent.
	Lookup(name string) (Interface, error)
	// List reads the addresses of a link.
	List(index int) ([]InterfaceAddress, error)
	// Add a new address; ErrExists if it is there.
	Add(index int, a Address, lifetime time.Duration) error
	// Renew sets the lifetime; it adds the address if it is not there.
	Renew(index int, a Address, lifetime time.Duration) error
	// Delete an address; ErrNotThere.
	Delete(index int, p netip.Prefix) error
}

// sender announces one address on a link and counts what went out.
type sender interface {
	// Prepare for announcements on a link that may come.
	Prepare(in Interface)
	Announce(in Interface, a netip.Addr, op Opcode) (frames int, err error)
}

// find looks for the address of p. IPv4 tells addresses with different prefix
// lengths apart (net/ipv4/devinet.c __inet_insert_ifa), IPv6 does not.
func find(list []InterfaceAddress, p netip.Prefix) (InterfaceAddress, bool) {
	for _, a := range list {
		if a.Prefix == p || (p.Addr().Is6() && a.Prefix.Addr() == p.Addr()) {
			return a, true
		}
	}
	return InterfaceAddress{}, false
}
