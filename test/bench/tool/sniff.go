package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"
)

// advertiser is one source of advertisements and how even they were.
type advertiser struct {
	Adverts int     `json:"adverts"`
	Zero    int     `json:"priority_zero"`
	P50     float64 `json:"interval_p50_ms"`
	P99     float64 `json:"interval_p99_ms"`
	P999    float64 `json:"interval_p999_ms"`
	Max     float64 `json:"interval_max_ms"`
	MaxAtNs int64   `json:"interval_max_at_ns"` // when the longest one ended
	last    time.Time
	longest time.Duration
	gaps    []time.Duration
}

// senderChange: the advertisements come from somebody else than before.
type senderChange struct {
	AtNs int64  `json:"at_ns"`
	From string `json:"from"`
	To   string `json:"to"`
	// Ms since the last advertisement of From.
	Ms float64 `json:"ms"`
}

// cmdSniff reports who advertises: each change of sender, and how even the
// intervals were per sender.
func cmdSniff(args []string) error {
	f := flag.NewFlagSet("sniff", flag.ExitOnError)
	ifname := f.String("if", "br0", "interface")
	dur := f.Duration("for", time.Hour, "how long; SIGTERM ends it earlier")
	f.Parse(args)
	fd, err := vrrpSocket(*ifname)
	if err != nil {
		return err
	}
	stop := stopped()
	senders := map[string]*advertiser{}
	changes := []senderChange{}
	current := ""
	buf, oob := make([]byte, 2048), make([]byte, 128)
	begin := time.Now()
	for time.Since(begin) < *dur && !stop.Load() {
		n, oobn, _, from, err := syscall.Recvmsg(fd, buf, oob, 0)
		if err != nil {
			continue // the receive timeout, to look at the clock
		}
		if ll, ok := from.(*syscall.SockaddrLinklayer); ok && ll.Pkttype == syscall.PACKET_OUTGOING {
			continue
		}
		if n < 28 || buf[0]>>4 != 4 {
			continue
		}
		at := stamp(oob[:oobn])
		src := net.IP(buf[12:16]).String()
		s := senders[src]
		if s == nil {
			s = &advertiser{}
			senders[src] = s
		} else {
			gap := at.Sub(s.last)
			if gap > s.longest {
				s.longest, s.MaxAtNs = gap, at.UnixNano()
			}
			s.gaps = append(s.gaps, gap)
		}
		s.last = at
		s.Adverts++
		if header := int(buf[0]&15) * 4; header+2 < n && buf[header+2] == 0 {
			s.Zero++
		}
		if src != current {
			c := senderChange{AtNs: at.UnixNano(), From: current, To: src}
			if old := senders[current]; old != nil {
				c.Ms = ms(at.Sub(old.last))
			}
			changes = append(changes, c)
			current = src
		}
	}
	for _, s := range senders {
		slices.Sort(s.gaps)
		s.P50, s.P99, s.P999, s.Max = ms(quantile(s.gaps, .5)), ms(quantile(s.gaps, .99)), ms(quantile(s.gaps, .999)), ms(quantile(s.gaps, 1))
	}
	return emit(map[string]any{"seconds": time.Since(begin).Seconds(), "senders": senders, "changes": changes})
}

// vrrpSocket opens a packet socket that sees the VRRP packets of an interface.
func vrrpSocket(ifname string) (int, error) {
	// Only VRRP (protocol 112) passes; the rest would cost more than it is worth.
	return packetSocket(ifname, []syscall.SockFilter{
		{Code: bpfLoadByte, K: 9}, {Code: bpfJumpEqual, Jf: 1, K: 112}, {Code: bpfReturn, K: 0xffff}, {Code: bpfReturn}})
}

// Instructions of the classic packet filter (linux/filter.h).
const (
	bpfLoadWord   = 0x20 // A = the four bytes at K
	bpfLoadByte   = 0x30 // A = the byte at K
	bpfLoadByteX  = 0x50 // A = the byte at X+K
	bpfHeaderToX  = 0xb1 // X = four times the low half of the byte at K: the length of an IPv4 header
	bpfAnd        = 0x54 // A &= K
	bpfJumpEqual  = 0x15 // skips Jt if A == K, else Jf
	bpfJumpAnyBit = 0x45 // skips Jt if A&K != 0, else Jf
	bpfReturn     = 6    // takes K bytes of the packet
)

// packetSocket opens a packet socket with time stamps on an interface; the
// filter sees packets from their IP header on. Reading gives up after 100 ms.
func packetSocket(ifname string, filter []syscall.SockFilter) (int, error) {
	itf, err := net.InterfaceByName(ifname)
	if err != nil {
		return -1, err
	}
	const ethPAll = 3
	proto := uint16(ethPAll<<8 | ethPAll>>8)
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM, int(proto))
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: proto, Ifindex: itf.Index}); err != nil {
		return -1, fmt.Errorf("bind to %s: %w", ifname, err)
	}
	//lint:ignore SA1019 the replacement wants a raw conn, here is a bare descriptor
	if err := syscall.AttachLsf(fd, filter); err != nil {
		return -1, fmt.Errorf("filter: %w", err)
	}
	// The kernel's own stamps: on a busy machine this process runs late itself.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1); err != nil {
		return -1, fmt.Errorf("time stamps: %w", err)
	}
	return fd, syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100000})
}

// stamp is the kernel's receive time, else now.
func stamp(oob []byte) time.Time {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Type == syscall.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}
