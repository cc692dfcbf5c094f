package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"

	"lvs-ha/internal/sysctl"
)

// announcer sends frames through packet sockets that receive nothing (protocol
// 0). It keeps one socket per interface. It belongs to one goroutine.
type announcer struct {
	conns map[string]*announceConn
}

type announceConn struct {
	index int
	mac   net.HardwareAddr
	c     *packet.Conn
}

// close gives the sockets back; the announcer can still be used.
func (s *announcer) close() {
	for _, c := range s.conns {
		c.c.Close()
	}
	s.conns = nil
}

// errNoEthernet is for links that have no neighbours to tell, like lo and tunl0.
var errNoEthernet = errors.New("no Ethernet address")

func (s *announcer) conn(in Interface) (*announceConn, error) {
	c := s.conns[in.Name]
	if c != nil && c.index == in.Index && slices.Equal(c.mac, in.HardwareAddr) {
		return c, nil
	}
	if c != nil {
		c.c.Close()
		delete(s.conns, in.Name)
	}
	if len(in.HardwareAddr) != 6 || slices.Equal(in.HardwareAddr, make([]byte, 6)) {
		return nil, errNoEthernet
	}
	p, err := packet.Listen(&net.Interface{
		Index: in.Index, Name: in.Name, MTU: in.MTU, HardwareAddr: in.HardwareAddr,
	}, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot open a packet socket on %s: %w", in.Name, err)
	}
	c = &announceConn{index: in.Index, mac: in.HardwareAddr, c: p}
	if s.conns == nil {
		s.conns = map[string]*announceConn{}
	}
	s.conns[in.Name] = c
	return c, nil
}

// Prepare opens the socket for a link: what is open already delays no announcement.
func (s *announcer) Prepare(in Interface) {
	_, _ = s.conn(in) // Announce tries again, and tells
}

// Announce sends what op asks for and returns how many frames went out.
func (s *announcer) Announce(in Interface, a netip.Addr, op Opcode) (int, error) {
	c, err := s.conn(in)
	if errors.Is(err, errNoEthernet) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var frames [][]byte
	switch {
	case a.Is6():
		f, err := unsolicitedNA(in.HardwareAddr, a, forwards(in.Name))
		if err != nil {
			return 0, err
		}
		frames = append(frames, f)
	default:
		for _, o := range operations(op) {
			f, err := gratuitousARP(in.HardwareAddr, a, o)
			if err != nil {
				return 0, err
			}
			frames = append(frames, f)
		}
	}
	for i, f := range frames {
		if _, err := c.c.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]}); err != nil {
			c.c.Close()
			delete(s.conns, in.Name)
			return i, fmt.Errorf("cannot announce %s on %s: %w", a, in.Name, err)
		}
	}
	return len(frames), nil
}

func operations(op Opcode) []arp.Operation {
	switch op {
	case Reply:
		return []arp.Operation{arp.OperationReply}
	case Both:
		return []arp.Operation{arp.OperationRequest, arp.OperationReply}
	case Request:
	}
	return []arp.Operation{arp.OperationRequest}
}

// forwards tells whether the interface routes IPv6: neighbours take a node
// that says so for a router, and drop their routes through one that does not.
func forwards(name string) bool {
	v, err := sysctl.Read("net/ipv6/conf/" + name + "/forwarding")
	return err == nil && v == "1"
}
