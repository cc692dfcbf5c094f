package speaker

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
)

// protocol is the IP protocol number of VRRP.
const protocol = 112

var (
	group4 = netip.MustParseAddr("224.0.0.18")
	group6 = netip.MustParseAddr("ff02::12")
)

// errNoRaw is complete for people.
var errNoRaw = errors.New("not permitted to open raw sockets: the speaker needs the capability CAP_NET_RAW (AmbientCapabilities= of the unit, or root)")

// mayOpen finds out whether raw sockets of a family can be opened at all.
func mayOpen(f vrrp.Family) error {
	fd, err := rawSocket(f)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func rawSocket(f vrrp.Family) (int, error) {
	domain := unix.AF_INET
	if f == vrrp.IPv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, errNoRaw
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return -1, fmt.Errorf("the kernel has no IPv%d: %w", f, err)
	case err != nil:
		return -1, fmt.Errorf("cannot open a raw IPv%d socket: %w", f, err)
	}
	return fd, nil
}

// openSocket opens a socket for all instances of a family on an interface. It
// joins the group, which waits for the kernel's lock of all networking
// changes: call it from anywhere but the loop.
func openSocket(f vrrp.Family, name string, index int) (fd int, err error) {
	fd, err = rawSocket(f)
	if err != nil {
		return -1, err
	}
	step := func(what string, e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("cannot %s on %s: %w", what, name, e)
		}
	}
	set := func(what string, level, opt, value int) { step(what, unix.SetsockoptInt(fd, level, opt, value)) }
	step("bind a raw socket", unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name))
	// Adverts go before everything else in the queue of the interface. Not
	// essential: 7 needs CAP_NET_ADMIN.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
	}
	set("ask for receive times", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if f == vrrp.IPv4 {
		step("join 224.0.0.18", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group4.As4(), Ifindex: int32(index)}))
		step("send multicast", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)}))
		set("set the TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 255)
		set("set the TTL", unix.IPPROTO_IP, unix.IP_TTL, 255)
		set("turn off multicast loopback", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0)
		set("set the type of service", unix.IPPROTO_IP, unix.IP_TOS, 0xc0)
	} else {
		step("join ff02::12", unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
			&unix.IPv6Mreq{Multiaddr: group6.As16(), Interface: uint32(index)}))
		set("send multicast", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index)
		set("set the hop limit", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255)
		set("set the hop limit", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255)
		set("turn off multicast loopback", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0)
		set("set the traffic class", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xc0)
		// The kernel fills and verifies the checksum, which covers addresses
		// that it knows best.
		set("set the checksum offset", unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, 6)
		set("ask for hop limits", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
		set("ask for destinations", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// packet is one received VRRP message with what the IP layer knows of it.
type packet struct {
	src, dst netip.Addr
	ttl      uint8
	payload  []byte        // valid until the next receive
	at       time.Duration // on the clock of now
}

// errShort is for an IPv4 packet whose header does not fit.
var errShort = errors.New("short packet")

// wire receives and sends without allocating. It belongs to the loop.
type wire struct {
	in      [2048]byte
	inCtl   [256]byte
	inName  [unix.SizeofSockaddrInet6]byte
	inIov   unix.Iovec
	inHdr   unix.Msghdr
	outCtl  [64]byte
	outName [unix.SizeofSockaddrInet6]byte
	outIov  unix.Iovec
	outHdr  unix.Msghdr
}

// errAgain says that there is nothing to read now.
var errAgain = error(unix.EAGAIN)

// receive reads one packet of a family.
func (w *wire) receive(fd int, f vrrp.Family, p *packet) error {
	w.inIov.Base = &w.in[0]
	w.inIov.SetLen(len(w.in))
	h := &w.inHdr
	*h = unix.Msghdr{Name: &w.inName[0], Namelen: uint32(len(w.inName)), Iov: &w.inIov, Control: &w.inCtl[0]}
	h.SetIovlen(1)
	h.SetControllen(len(w.inCtl))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return errnoErr(errno)
	}
	*p = packet{payload: w.in[:n]}
	stamp := w.control(h, p)
	at := now()
	// The wall clock may be set while a packet waits: a stamp from the future
	// or from long ago says nothing.
	if age := time.Duration(realNow() - stamp); stamp != 0 && age > 0 && age < 10*time.Second {
		at -= age
	}
	p.at = at
	if f == vrrp.IPv6 {
		// struct sockaddr_in6: family, port, flowinfo, address
		p.src = netip.AddrFrom16([16]byte(w.inName[8:24]))
		return nil
	}
	return splitIPv4(p)
}

// splitIPv4 takes the IP header off: raw IPv4 sockets deliver it.
func splitIPv4(p *packet) error {
	b := p.payload
	if len(b) < 20 || b[0]>>4 != 4 {
		return errShort
	}
	head, total := int(b[0]&0x0f)*4, int(b[2])<<8|int(b[3])
	if head < 20 || total < head || total > len(b) {
		return errShort
	}
	p.ttl = b[8]
	p.src = netip.AddrFrom4([4]byte(b[12:16]))
	p.dst = netip.AddrFrom4([4]byte(b[16:20]))
	p.payload = b[head:total]
	return nil
}

// control reads the control messages and returns the time stamp, 0 for none.
func (w *wire) control(h *unix.Msghdr, p *packet) (stamp int64) {
	b := w.inCtl[:min(int(h.Controllen), len(w.inCtl))]
	const head = unix.SizeofCmsghdr
	for len(b) >= head {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(c.Len)
		if n < head || n > len(b) {
			return stamp
		}
		data := b[head:n]
		switch {
		case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
			stamp = ts.Nano()
		case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			p.ttl = uint8(*(*int32)(unsafe.Pointer(&data[0])))
		case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			p.dst = netip.AddrFrom16([16]byte(data[:16]))
		}
		b = b[min(unix.CmsgSpace(n-head), len(b)):]
	}
	return stamp
}

// send sends one message from src to dst through the interface.
func (w *wire) send(fd, index int, src, dst netip.Addr, message []byte) error {
	w.outIov.Base = &message[0]
	w.outIov.SetLen(len(message))
	h := &w.outHdr
	*h = unix.Msghdr{Name: &w.outName[0], Iov: &w.outIov, Control: &w.outCtl[0]}
	h.SetIovlen(1)
	clear(w.outName[:])
	clear(w.outCtl[:])
	c := (*unix.Cmsghdr)(unsafe.Pointer(&w.outCtl[0]))
	data := w.outCtl[unix.CmsgLen(0):]
	if dst.Is4() {
		*(*uint16)(unsafe.Pointer(&w.outName[0])) = unix.AF_INET
		d := dst.As4()
		copy(w.outName[4:], d[:])
		h.Namelen = unix.SizeofSockaddrInet4
		c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		info.Ifindex, info.Spec_dst = int32(index), src.As4()
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	} else {
		*(*uint16)(unsafe.Pointer(&w.outName[0])) = unix.AF_INET6
		d := dst.As16()
		copy(w.outName[8:], d[:])
		*(*uint32)(unsafe.Pointer(&w.outName[24])) = uint32(index)
		h.Namelen = unix.SizeofSockaddrInet6
		c.Level, c.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		c.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		info.Ifindex, info.Addr = uint32(index), src.As16()
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return errnoErr(errno)
	}
	return nil
}

// errnoErr makes an error of the usual errnos without allocating.
func errnoErr(e unix.Errno) error {
	switch e {
	case unix.EAGAIN:
		return errAgain
	case unix.ENETUNREACH:
		return errNetUnreach
	case unix.ENETDOWN:
		return errNetDown
	case unix.ENOBUFS:
		return errNoBufs
	}
	return e
}

var (
	errNetUnreach = error(unix.ENETUNREACH)
	errNetDown    = error(unix.ENETDOWN)
	errNoBufs     = error(unix.ENOBUFS)
)
