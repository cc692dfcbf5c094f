package health

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is an address in the form that the kernel takes, made once per
// check, so that a probe allocates nothing.
type sockaddr struct {
	raw [unix.SizeofSockaddrInet6]byte
	len uintptr
}

// unspecified is AF_UNSPEC: connecting a socket to it takes its connection
// away and leaves it as new (a reset goes out if the peer has one).
var unspecified = sockaddr{len: unix.SizeofSockaddrInet4}

func newSockaddr(a netip.AddrPort) (s sockaddr, family int, err error) {
	port := [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	addr := a.Addr().Unmap()
	switch {
	case addr.Is4():
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		p.Family, p.Port, p.Addr = unix.AF_INET, *(*uint16)(unsafe.Pointer(&port)), addr.As4()
		s.len = unix.SizeofSockaddrInet4
		return s, unix.AF_INET, nil
	case addr.Is6():
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.raw))
		p.Family, p.Port, p.Addr = unix.AF_INET6, *(*uint16)(unsafe.Pointer(&port)), addr.As16()
		s.len = unix.SizeofSockaddrInet6
		if z := addr.Zone(); z != "" {
			if n, err := strconv.ParseUint(z, 10, 32); err == nil {
				p.Scope_id = uint32(n)
			} else if i, err := net.InterfaceByName(z); err == nil {
				p.Scope_id = uint32(i.Index)
			} else {
				return s, 0, fmt.Errorf("no interface %s", z)
			}
		}
		return s, unix.AF_INET6, nil
	default:
		return s, 0, fmt.Errorf("no address")
	}
}

// The calls below never block: the sockets are non-blocking, so the runtime
// need not be told (RawSyscall).

func connect(fd int, s *sockaddr) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&s.raw)), s.len)
	return e
}

func bind(fd int, s *sockaddr) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&s.raw)), s.len)
	return e
}

func read(fd int, p []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), e
}

// send never raises SIGPIPE.
func send(fd int, p []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

func closeFD(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

func setInt(fd, level, opt, v int) unix.Errno {
	x := int32(v)
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt), uintptr(unsafe.Pointer(&x)), 4, 0)
	return e
}

// socketError takes the error that waits on a socket; 0 is none.
func socketError(fd int) unix.Errno {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return unix.EIO
	}
	return unix.Errno(v)
}
