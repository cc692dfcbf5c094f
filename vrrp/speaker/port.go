package speaker

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
)

// portKey names what instances share: a socket for each interface and family.
type portKey struct {
	iface  string
	family vrrp.Family
}

// port is the loop's side of a socket. Only the loop touches it.
type port struct {
	key       portKey
	slot      int // in loop.ports, and what epoll tells
	fd        int // -1 while there is none
	iface     Interface
	instances [256]*instance // by VRID
	unknown   uint64         // packets for VRIDs that are not ours
	failed    string         // why there is no socket, as last logged

	// Of Configure, not of the loop:
	users int
	stop  func() // ends the keeper
}

// keeper opens the socket of a port and opens it again when the interface
// comes back under another index. It works in a goroutine of its own, because
// joining a group waits for the kernel.
type keeper struct {
	key    portKey
	latest chan Interface // latest-value cell
	tell   func(in Interface, fd int, err error)
}

// watched takes the state of the interface; it does not block.
func (k *keeper) watched(in Interface) {
	for {
		select {
		case k.latest <- in:
			return
		default:
		}
		select { // an older one is in the way
		case <-k.latest:
		default:
		}
	}
}

// reopenAfter is the pause after a socket could not be opened.
const reopenAfter = 500 * time.Millisecond

// run follows the interface until ctx ends. tell hands the socket over; fd is
// -1 where nothing new was opened.
func (k *keeper) run(ctx context.Context) {
	var in Interface
	open := 0 // index that the present socket is for
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case in = <-k.latest:
		case <-retry:
		}
		retry = nil
		if in.Index == 0 || in.Index == open {
			if in.Index == 0 {
				open = 0
			}
			k.tell(in, -1, nil)
			continue
		}
		fd, err := openSocket(k.key.family, k.key.iface, in.Index)
		if err != nil {
			retry = time.After(reopenAfter)
		} else {
			open = in.Index
		}
		k.tell(in, fd, err)
	}
}

// source chooses the address that an instance sends from: the configured one,
// else never a virtual one (RFC 9568 section 5.1.1.1: the primary address).
// IPv6 multicast goes out from the link-local address; unicast from the address
// that the peers know, or the one nearest to them.
func source(in *Interface, spec *vrrp.Instance, virtual func(netip.Addr) bool) netip.Addr {
	c := &spec.Config
	var best netip.Addr
	bestRank := 0
	for i := range in.Addresses {
		a := &in.Addresses[i]
		ip := a.Prefix.Addr()
		if ip.Is4() != (c.Family == vrrp.IPv4) || a.Tentative {
			continue
		}
		if ip == spec.Source {
			return ip
		}
		if spec.Source.IsValid() || virtual(ip) {
			continue
		}
		if ip == spec.Prefer {
			best, bestRank = ip, 10
		}
		rank := 1
		if c.Mode == vrrp.Unicast && len(c.Peers) > 0 {
			switch {
			case c.Peers[0].IsLinkLocalUnicast() != ip.IsLinkLocalUnicast():
				if c.Family == vrrp.IPv6 {
					continue
				}
			case a.Prefix.Contains(c.Peers[0]):
				rank = 3
			}
		} else if c.Family == vrrp.IPv6 && !ip.IsLinkLocalUnicast() {
			continue
		}
		if !a.Secondary {
			rank++
		}
		if rank > bestRank {
			best, bestRank = ip, rank
		}
	}
	return best
}

// closePort gives the socket back; epoll forgets it by itself.
func closePort(p *port) {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}
