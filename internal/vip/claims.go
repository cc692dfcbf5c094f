package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Claim is a frame in which another station says that an address is its own.
type Claim struct {
	Address      netip.Addr
	Interface    string
	HardwareAddr net.HardwareAddr // whose it is said to be
}

// Claims listens on one interface for claims of some addresses: ARP of either
// form whose sender has the address (RFC 5227 section 2.4), and neighbour
// advertisements for it. It hears only what reaches this host: broadcasts,
// multicasts and what is meant for it.
type Claims struct {
	iface string
	addrs []netip.Addr
	f     func(Claim)
	heard atomic.Uint64 // frames that came through the filters
}

// claimSpacing bounds how often claims of one address are told: a storm of
// them says no more than one.
const claimSpacing = 10 * time.Millisecond

// floodPause follows a claim that came sooner than that. This process may be in
// real time: what is only read to be thrown away is better lost in the kernel.
const floodPause = time.Millisecond

// NewClaims makes a listener; f must not block.
func NewClaims(iface string, addrs []netip.Addr, f func(Claim)) *Claims {
	return &Claims{iface: iface, addrs: slices.Clone(addrs), f: f}
}

// Run listens until ctx ends or the interface goes.
func (c *Claims) Run(ctx context.Context) error {
	ifi, err := net.InterfaceByName(c.iface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", c.iface, ErrAbsent)
	}
	var four, six []netip.Addr
	for _, a := range c.addrs {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	listen := func(etherType int, program []bpf.Instruction) {
		wg.Go(func() {
			err := c.listen(ctx, ifi, etherType, program)
			cancel()
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	if len(four) > 0 {
		listen(unix.ETH_P_ARP, arpFilter(four))
	}
	if len(six) > 0 {
		listen(unix.ETH_P_IPV6, naFilter(six))
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Claims) listen(ctx context.Context, ifi *net.Interface, etherType int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble a filter: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, etherType, &packet.Config{Filter: raw})
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", c.iface, err)
	}
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	buf := make([]byte, 256)
	told := map[netip.Addr]time.Time{}
	for {
		n, _, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once; the socket goes on when the link is up again
		}
		if err != nil {
			return fmt.Errorf("listening on %s: %w", c.iface, err)
		}
		c.heard.Add(1)
		a, mac, ok := parseClaim(buf[:n])
		if !ok || slices.Equal(mac, ifi.HardwareAddr) || !slices.Contains(c.addrs, a) {
			continue
		}
		if at := time.Now(); at.Sub(told[a]) >= claimSpacing {
			told[a] = at
			c.f(Claim{Address: a, Interface: c.iface, HardwareAddr: mac})
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(floodPause):
		}
	}
}

// keep listens until ctx ends, again after failures.
func (c *Claims) keep(ctx context.Context) {
	for ctx.Err() == nil {
		_ = c.Run(ctx) // the interface went; its holder tells
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// arpFilter passes ARP whose sender has one of the addresses.
func arpFilter(addrs []netip.Addr) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadAbsolute{Off: 28, Size: 4}}
	for _, a := range addrs {
		b := a.As4()
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1}, bpf.RetConstant{Val: 256})
	}
	return append(p, bpf.RetConstant{Val: 0})
}

// naFilter passes neighbour advertisements for one of the addresses.
func naFilter(addrs []netip.Addr) []bpf.Instruction {
	const target = 14 + 40 + 8
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 20, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 54, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: icmpNA, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	for _, a := range addrs {
		b := a.As16()
		for i := range 4 {
			p = append(p, bpf.LoadAbsolute{Off: target + 4*uint32(i), Size: 4},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(b[4*i:]), SkipFalse: uint8(2*(3-i) + 1)})
		}
		p = append(p, bpf.RetConstant{Val: 256})
	}
	return append(p, bpf.RetConstant{Val: 0})
}

const icmpNA = 136

// parseClaim reads who says to have which address. A probe (sender 0.0.0.0)
// claims nothing, and neither does an advertisement without link-layer address.
func parseClaim(f []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(f) < 42 {
		return a, nil, false
	}
	switch etherType := uint16(f[12])<<8 | uint16(f[13]); etherType {
	case unix.ETH_P_ARP:
		// Ethernet and IPv4, request or reply.
		if string(f[14:20]) != "\x00\x01\x08\x00\x06\x04" || f[20] != 0 || (f[21] != 1 && f[21] != 2) {
			return a, nil, false
		}
		return netip.AddrFrom4([4]byte(f[28:32])), slices.Clone(net.HardwareAddr(f[22:28])), true
	case unix.ETH_P_IPV6:
		const body = 14 + 40
		if len(f) < body+24 || f[14]>>4 != 6 || f[20] != unix.IPPROTO_ICMPV6 || f[21] != 255 || f[body] != icmpNA || f[body+1] != 0 {
			return a, nil, false
		}
		a = netip.AddrFrom16([16]byte(f[body+8 : body+24]))
		for o := f[body+24:]; len(o) >= 8; {
			n := int(o[1]) * 8
			if n == 0 || n > len(o) {
				break
			}
			if o[0] == 2 && n == 8 { // target link-layer address
				return a, slices.Clone(net.HardwareAddr(o[2:8])), true
			}
			o = o[n:]
		}
	}
	return a, nil, false
}
