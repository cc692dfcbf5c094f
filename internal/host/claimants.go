package host

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Claim of a virtual address by another station, heard while it is ours.
type Claim struct {
	Address      netip.Addr
	Interface    string
	HardwareAddr net.HardwareAddr
}

// Claimants finds out whether a station that claims a virtual address is one of
// the real servers: with direct routing and tunnels they have the address, too,
// but neighbours must not hear of it. It is safe for use by several goroutines.
type Claimants struct {
	// neighbours lists the addresses that the kernel knows behind a hardware address.
	neighbours func(link string, mac net.HardwareAddr) ([]netip.Addr, error)
	log        *slog.Logger
	claims     chan Claim

	mu      sync.Mutex
	servers map[netip.Addr]string
	faults  map[fault]time.Time // when last heard
}

// fault is a virtual address that a real server answers for.
type fault struct {
	address, server netip.Addr
	link            string
}

// faultLasts is how long after the latest claim a fault counts as one. Claims are
// heard when the server asks for a neighbour, which may be seldom.
const faultLasts = 5 * time.Minute

// NewClaimants makes one that knows no servers.
func NewClaimants(log *slog.Logger) *Claimants {
	return &Claimants{neighbours: neighboursBehind, log: log, claims: make(chan Claim, 16), faults: map[fault]time.Time{}}
}

// Set replaces the real servers: their names by address.
func (c *Claimants) Set(servers map[netip.Addr]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = servers
}

// Take a claim. It does not block; of a flood most are lost.
func (c *Claimants) Take(x Claim) {
	select {
	case c.claims <- x:
	default:
	}
}

// Run is the loop; it ends with ctx.
func (c *Claimants) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case x := <-c.claims:
			c.look(x)
		}
	}
}

func (c *Claimants) look(x Claim) {
	list, err := c.neighbours(x.Interface, x.HardwareAddr)
	if err != nil {
		c.log.Debug("cannot find out who claims an address", "event", "claimant_unknown", "address", x.Address.String(), "err", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range list {
		name, ok := c.servers[a]
		if !ok {
			continue
		}
		f := fault{x.Address, a, x.Interface}
		if _, known := c.faults[f]; !known {
			c.log.Warn(f.text(name), "event", "arp_fault", "address", x.Address.String(), "interface", x.Interface,
				"server", name, "server_address", a.String(), "mac", x.HardwareAddr.String())
		}
		c.faults[f] = time.Now()
	}
}

// text says what is wrong and what to do, for people.
func (f *fault) text(name string) string {
	cure := "set net.ipv4.conf.all.arp_ignore = 1 and net.ipv4.conf.all.arp_announce = 2 on it"
	if f.address.Is6() {
		cure = "have the address on an interface of it that nobody asks, as a dummy with \"ip link set dummy0 arp off\""
	}
	return fmt.Sprintf("real server %s (%s) tells its neighbours on %s that %s is its own: who believes it comes to no other server; %s",
		name, f.server, f.link, f.address, cure)
}

// Findings are the faults that were heard of in the last minutes, for people.
func (c *Claimants) Findings() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, heard := range c.faults {
		name, ok := c.servers[f.server]
		if !ok || time.Since(heard) >= faultLasts {
			delete(c.faults, f)
			continue
		}
		out = append(out, f.text(name))
	}
	slices.Sort(out)
	return out
}
