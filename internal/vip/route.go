package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	mnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Sockets of route netlink that keep their buffers: a master renews addresses
// all the time, and each renewal is a request, an answer and an event.

const nlmsgHead = unix.SizeofNlMsghdr

// eachMessage calls f for the netlink messages in b.
func eachMessage(b []byte, f func(typ uint16, seq uint32, data []byte)) {
	for len(b) >= nlmsgHead {
		n := int(binary.NativeEndian.Uint32(b))
		if n < nlmsgHead || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[nlmsgHead:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// requests sends requests that the kernel answers with an error number alone.
type requests struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	buf [4096]byte
}

func openRequests() (*requests, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open a route netlink socket: %w", err)
	}
	// The kernel answers before sending returns; nothing is ever waited for.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	return &requests{fd: fd}, nil
}

func (r *requests) close() { _ = unix.Close(r.fd) }

// do sends one request and returns the kernel's answer.
func (r *requests) do(typ uint16, flags mnl.HeaderFlags, data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	out := r.buf[:nlmsgHead]
	binary.NativeEndian.PutUint32(out[0:], uint32(nlmsgHead+len(data)))
	binary.NativeEndian.PutUint16(out[4:], typ)
	binary.NativeEndian.PutUint16(out[6:], uint16(flags|mnl.Request|mnl.Acknowledge))
	binary.NativeEndian.PutUint32(out[8:], r.seq)
	binary.NativeEndian.PutUint32(out[12:], 0)
	out = append(out, data...)
	if _, err := unix.Write(r.fd, out); err != nil {
		return err
	}
	for {
		n, err := unix.Read(r.fd, r.buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		answered := false
		eachMessage(r.buf[:n], func(typ uint16, seq uint32, data []byte) {
			if typ == unix.NLMSG_ERROR && seq == r.seq && len(data) >= 4 {
				answered = true
				if e := int32(binary.NativeEndian.Uint32(data)); e != 0 {
					err = unix.Errno(-e)
				}
			}
		})
		if answered {
			return err
		}
	}
}

// news is a subscription to events.
type news struct {
	f   *os.File
	raw syscall.RawConn
	buf [8192]byte
}

// subscribe to multicast groups, a set of bits.
func subscribe(groups uint32, buffer int) (*news, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	n := &news{f: os.NewFile(uintptr(fd), "netlink")}
	if n.raw, err = n.f.SyscallConn(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// close ends a receive that waits.
func (n *news) close() { _ = n.f.Close() }

// receive waits for events; they are valid until the next call.
func (n *news) receive() ([]byte, error) {
	var size int
	var err error
	waited := n.raw.Read(func(fd uintptr) bool {
		size, err = unix.Read(int(fd), n.buf[:])
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	if err == nil {
		err = waited
	}
	return n.buf[:max(size, 0)], err
}
