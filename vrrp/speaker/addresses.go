package speaker

import (
	"context"
	"net"
	"net/netip"
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// Addresses is what the speaker needs of the machine's links and addresses.
// Whoever wires the program implements it over its netlink package.
type Addresses interface {
	// Watch calls f with the present state of the named interface before it
	// returns, and at each change until cancel was called. Calls come one at
	// a time; f does not block.
	Watch(name string, f func(Interface)) (cancel func())
	// Holder makes the holder of the addresses of one instance; it starts
	// nothing. report is called from Holder.Run's goroutine and does not block.
	Holder(in vrrp.Instance, report func(Report)) Holder
}

// Interface is a link as it is now. Index 0: there is none of that name.
type Interface struct {
	Name      string
	Index     int
	Up        bool // set up and with a carrier
	Addresses []InterfaceAddress
}

// InterfaceAddress is one address of a link, in the kernel's order.
type InterfaceAddress struct {
	Prefix    netip.Prefix
	Secondary bool // IPv4: not the first of its subnet
	Tentative bool // IPv6: cannot be used yet
}

// Holder puts the addresses of an instance on their links and keeps them
// there. Everything but Run returns at once and takes no lock that is held
// for long: the loop calls it.
type Holder interface {
	// Run carries orders out until ctx ends; first it removes addresses that
	// an earlier run left behind. It leaves the addresses as they are.
	Run(ctx context.Context) error
	// Hold and Drop return the number of the order; see Report.Order.
	Hold() uint64
	Drop() uint64
	// Announce tells the neighbours: all rounds if full, else once.
	Announce(full bool)
	// Quiet ends announcing, rounds under way included; the addresses stay.
	Quiet()
	Reconfigure(in vrrp.Instance)
	// OnClaim has f called, which does not block, whenever another station
	// claims one of the addresses while they are held. It is called before Run.
	OnClaim(f func(a netip.Addr, iface string, mac net.HardwareAddr))
	// Present tells of each address whether it is on its link, in the order
	// of Addresses and Excluded.
	Present() []link.AddressStatus
	// Announced counts gratuitous ARP and neighbour advertisements sent and
	// frames that could not be sent.
	Announced() (arp, na, errors uint64)
}

// Phase of a holder.
type Phase uint8

const (
	Dropped  Phase = iota // none of our addresses is on its link
	Waiting               // some address could not be put on its link yet
	Held                  // all addresses are on their links
	Dropping              // some address could not be removed yet
)

// Report of a holder: sent when an order was carried out, when the outcome
// changes, and at each renewal of the lifetimes.
type Report struct {
	Phase    Phase
	Order    uint64 // number of the last order taken in
	Err      error  // why Waiting or Dropping
	Restored []netip.Prefix
	Foreign  []netip.Prefix
	// Age of the oldest lifetime of an address that is ours; below 0 if none is.
	Age time.Duration
}
