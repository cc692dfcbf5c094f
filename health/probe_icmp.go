package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An echo request (RFC 792, RFC 4443 4.1) goes out over a ping socket, which
// needs no capability where net.ipv4.ping_group_range allows the group, or
// else over a raw one, which needs CAP_NET_RAW. Each probe opens its own,
// connected to the target, so that errors that come back are its own.

// echo is one request: 8 octets of header, 16 of a token that only the answer
// to this request bears.
type echo struct {
	v6  bool
	raw bool
	id  uint16
	tok [16]byte
}

const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

func (e *echo) packet() []byte {
	b := make([]byte, 8+len(e.tok))
	b[0] = echoRequest4
	if e.v6 {
		b[0] = echoRequest6
	}
	binary.BigEndian.PutUint16(b[4:], e.id) // a ping socket sets its own
	binary.BigEndian.PutUint16(b[6:], 1)
	copy(b[8:], e.tok[:])
	if !e.v6 { // over IPv6 the kernel does it
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// answers tells whether b, as the socket gave it, is the reply.
func (e *echo) answers(b []byte) bool {
	if e.raw && !e.v6 { // with the IP header
		if len(b) < 20 || b[0]>>4 != 4 || len(b) < int(b[0]&15)*4 {
			return false
		}
		b = b[int(b[0]&15)*4:]
	}
	want := byte(echoReply4)
	if e.v6 {
		want = echoReply6
	}
	return len(b) >= 8+len(e.tok) && b[0] == want && b[1] == 0 && bytes.Equal(b[8:8+len(e.tok)], e.tok[:])
}

// checksum of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func newICMPProber(s Spec) Prober {
	to, family, err := newSockaddr(netip.AddrPortFrom(s.Target.Addr(), 0))
	if err != nil {
		return failing(&Failure{ReasonInternal, "target: " + err.Error()})
	}
	key := poolKey{family: family, device: s.Interface, mark: s.Mark, hasSource: s.Source.IsValid()}
	var source sockaddr
	if key.hasSource {
		var f int
		if source, f, err = newSockaddr(netip.AddrPortFrom(s.Source, 0)); err != nil || f != family {
			return failing(&Failure{ReasonInternal, "source: of another family than the target"})
		}
	}
	return proberFunc(func(ctx context.Context) (Report, error) {
		e := &echo{v6: family == unix.AF_INET6, id: uint16(rand.Uint32())}
		binary.BigEndian.PutUint64(e.tok[:], rand.Uint64())
		binary.BigEndian.PutUint64(e.tok[8:], rand.Uint64())
		fd, f := e.socket(family)
		if f != nil {
			return Report{}, f
		}
		errno, call := key.route(fd)
		if errno == 0 && key.hasSource {
			errno, call = bind(fd, &source), "bind"
		}
		if errno == 0 {
			errno, call = connect(fd, &to), "connect"
		}
		if errno != 0 {
			closeFD(fd)
			return Report{}, local(call, errno)
		}
		file := os.NewFile(uintptr(fd), "icmp")
		defer func() { _ = file.Close() }()
		if t, ok := ctx.Deadline(); ok {
			_ = file.SetDeadline(t)
		}
		defer context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })()
		if _, err := file.Write(e.packet()); err != nil {
			return Report{}, err
		}
		buf := make([]byte, 512)
		for {
			n, err := file.Read(buf)
			if err != nil {
				return Report{}, err
			}
			if e.answers(buf[:n]) {
				return Report{}, nil
			}
		}
	})
}

// socket opens one of the two kinds.
func (e *echo) socket(family int) (int, *Failure) {
	proto := unix.IPPROTO_ICMP
	if e.v6 {
		proto = unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err == nil {
		return fd, nil
	}
	if fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto); err == nil {
		e.raw = true
		return fd, nil
	}
	if err == unix.EPERM || err == unix.EACCES {
		return -1, &Failure{ReasonInternal, "no ICMP socket: give the agent CAP_NET_RAW, or put its group into net.ipv4.ping_group_range"}
	}
	errno, _ := err.(unix.Errno)
	return -1, local("socket", errno)
}
