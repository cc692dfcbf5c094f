package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Advert is a VRRP advertisement as it was on the wire.
type Advert struct {
	At       time.Time // the kernel's time stamp
	From     netip.Addr
	Version  int
	VRID     int
	Priority int
	Interval time.Duration
	VIPs     []netip.Addr
}

// Announcement is an ARP frame in which the sender names itself.
type Announcement struct {
	At   time.Time
	Addr netip.Addr
	MAC  net.HardwareAddr
}

// Sniffer listens on the front bridge. It decodes frames by itself, so that
// the codec under test has an independent witness.
type Sniffer struct {
	file *os.File
	done chan struct{}

	mu    sync.Mutex
	ads   []Advert
	garps []Announcement
}

const (
	ethARP   = 0x0806
	ethIPv4  = 0x0800
	protVRRP = 112
)

// Sniff starts to listen.
func (l *Lab) Sniff() (*Sniffer, error) {
	s := &Sniffer{done: make(chan struct{})}
	if err := l.net.Do(s.open); err != nil {
		return nil, fmt.Errorf("cannot listen on the bridge: %w", err)
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	go func() {
		defer close(s.done)
		s.read(conn)
	}()
	return s, nil
}

func (s *Sniffer) open() error {
	ifc, err := net.InterfaceByName("front")
	if err != nil {
		return err
	}
	all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
	// Bound to no protocol first: nothing comes in before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: 0x28, K: 12}, // ethertype
		{Code: 0x15, K: ethARP, Jt: 3, Jf: 0},
		{Code: 0x15, K: ethIPv4, Jt: 0, Jf: 3},
		{Code: 0x30, K: 14 + 9}, // protocol
		{Code: 0x15, K: protVRRP, Jt: 0, Jf: 1},
		{Code: 0x06, K: 0xffff},
		{Code: 0x06, K: 0},
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
		// The kernel's own stamps: on a busy machine this process runs late itself.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifc.Index}))
	if err != nil {
		unix.Close(fd)
		return err
	}
	s.file = os.NewFile(uintptr(fd), "sniffer")
	return nil
}

func (s *Sniffer) read(conn syscall.RawConn) {
	buf, oob := make([]byte, 2048), make([]byte, 256)
	for {
		var n, oobn int
		var from unix.Sockaddr
		var err error
		if rerr := conn.Read(func(fd uintptr) bool {
			n, oobn, _, from, err = unix.Recvmsg(int(fd), buf, oob, 0)
			return err != unix.EAGAIN
		}); rerr != nil {
			return // closed
		}
		if err != nil {
			continue
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		s.take(stamp(oob[:oobn]), buf[:n])
	}
}

func stamp(oob []byte) time.Time {
	if msgs, err := unix.ParseSocketControlMessage(oob); err == nil {
		for _, m := range msgs {
			if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

func (s *Sniffer) take(at time.Time, frame []byte) {
	if len(frame) < 14 {
		return
	}
	body := frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case ethARP:
		// IPv4 over Ethernet, sender protocol address = target protocol address.
		if len(body) >= 28 && body[4] == 6 && body[5] == 4 && string(body[14:18]) == string(body[24:28]) {
			s.mu.Lock()
			s.garps = append(s.garps, Announcement{at, netip.AddrFrom4([4]byte(body[14:18])), slices.Clone(net.HardwareAddr(body[8:14]))})
			s.mu.Unlock()
		}
	case ethIPv4:
		if a, ok := parseAdvert(body); ok {
			a.At = at
			s.mu.Lock()
			s.ads = append(s.ads, a)
			s.mu.Unlock()
		}
	}
}

// parseAdvert reads an IPv4 packet with a VRRP advertisement of version 2 or 3
// (RFC 9568 section 5).
func parseAdvert(p []byte) (Advert, bool) {
	if len(p) < 20 || p[0]>>4 != 4 {
		return Advert{}, false
	}
	head := int(p[0]&15) * 4
	total := int(binary.BigEndian.Uint16(p[2:]))
	if head < 20 || total > len(p) || total < head+8 || p[9] != protVRRP {
		return Advert{}, false
	}
	v := p[head:total]
	a := Advert{From: netip.AddrFrom4([4]byte(p[12:16])), Version: int(v[0] >> 4), VRID: int(v[1]), Priority: int(v[2])}
	switch a.Version {
	case 2:
		a.Interval = time.Duration(v[5]) * time.Second
	case 3:
		a.Interval = time.Duration(binary.BigEndian.Uint16(v[4:])&0xfff) * 10 * time.Millisecond
	default:
		return Advert{}, false
	}
	for i := range int(v[3]) {
		if off := 8 + 4*i; off+4 <= len(v) {
			a.VIPs = append(a.VIPs, netip.AddrFrom4([4]byte(v[off:off+4])))
		}
	}
	return a, true
}

// Adverts heard so far, from since on.
func (s *Sniffer) Adverts(since time.Time) []Advert {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Advert
	for _, a := range s.ads {
		if !a.At.Before(since) {
			out = append(out, a)
		}
	}
	return out
}

// Announcements heard so far, from since on.
func (s *Sniffer) Announcements(since time.Time) []Announcement {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Announcement
	for _, a := range s.garps {
		if !a.At.Before(since) {
			out = append(out, a)
		}
	}
	return out
}

// Await waits for an advertisement since then that match accepts.
func (s *Sniffer) Await(ctx context.Context, what string, since time.Time, match func(Advert) bool) (got Advert, err error) {
	err = Until(ctx, what, func() error {
		ads := s.Adverts(since)
		for _, a := range ads {
			if match(a) {
				got = a
				return nil
			}
		}
		if len(ads) == 0 {
			return errors.New("no advertisement at all")
		}
		l := ads[len(ads)-1]
		return fmt.Errorf("%d advertisements, the last from %s with priority %d", len(ads), l.From, l.Priority)
	})
	return got, err
}

// LongestGap between two advertisements of one sender since then.
func (s *Sniffer) LongestGap(from netip.Addr, since time.Time) (gap time.Duration, n int) {
	var last time.Time
	for _, a := range s.Adverts(since) {
		if a.From != from {
			continue
		}
		if n++; n > 1 {
			gap = max(gap, a.At.Sub(last))
		}
		last = a.At
	}
	return gap, n
}

// Close ends listening.
func (s *Sniffer) Close() error {
	err := s.file.Close()
	<-s.done
	return err
}
