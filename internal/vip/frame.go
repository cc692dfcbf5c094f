package vip

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

const etherTypeIPv6 = ethernet.EtherTypeIPv6

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// gratuitousARP builds a frame that tells all neighbours that ip is at mac.
// The target hardware address is all ones in both forms, as keepalived has it;
// some clouds accept the reply form only so.
func gratuitousARP(mac net.HardwareAddr, ip netip.Addr, op arp.Operation) ([]byte, error) {
	p, err := arp.NewPacket(op, mac, ip, ethernet.Broadcast, ip)
	if err != nil {
		return nil, fmt.Errorf("build gratuitous ARP for %s: %w", ip, err)
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("build gratuitous ARP for %s: %w", ip, err)
	}
	f := ethernet.Frame{Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: body}
	return f.MarshalBinary()
}

// unsolicitedNA builds an unsolicited neighbour advertisement with the
// Override flag to all nodes (RFC 4861 section 7.2.6), hop limit 255.
func unsolicitedNA(mac net.HardwareAddr, ip netip.Addr, router bool) ([]byte, error) {
	msg, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Router: router, Override: true, TargetAddress: ip,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, ip, allNodes)
	if err != nil {
		return nil, fmt.Errorf("build a neighbour advertisement for %s: %w", ip, err)
	}
	const icmpv6, hopLimit = 58, 255
	body := make([]byte, 0, 40+len(msg))
	body = append(body, 0x60, 0, 0, 0, byte(len(msg)>>8), byte(len(msg)), icmpv6, hopLimit)
	body = append(body, ip.AsSlice()...)
	body = append(body, allNodes.AsSlice()...)
	body = append(body, msg...)
	f := ethernet.Frame{Destination: allNodesMAC, Source: mac, EtherType: etherTypeIPv6, Payload: body}
	return f.MarshalBinary()
}
