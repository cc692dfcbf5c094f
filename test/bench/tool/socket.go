package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

func sockaddr(a netip.AddrPort) (syscall.Sockaddr, int) {
	if a.Addr().Is4() {
		return &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, syscall.AF_INET
	}
	return &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, syscall.AF_INET6
}

func epollAdd(ep, fd int, events uint32) error {
	return syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

// sources hands out source addresses and ports one after the other, going on
// where the last process stopped.  The kernel's own choice skips about eight
// ports at a time and so comes round within seconds; a reused port meets the
// director's old connection entry and is sent to the old real server.
type sources struct {
	addrs []netip.Addr
	next  int
	file  string
}

const firstPort, ports = 2000, 60000

func newSources(list, file string) (*sources, error) {
	s := &sources{file: file}
	for _, a := range strings.Split(list, ",") {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return nil, err
		}
		s.addrs = append(s.addrs, addr)
	}
	if b, err := os.ReadFile(file); err == nil {
		if _, err := fmt.Sscan(string(b), &s.next); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return s, nil
}

func (s *sources) bind(fd int) error {
	for range 100 {
		n := s.next % (len(s.addrs) * ports)
		s.next++
		sa, _ := sockaddr(netip.AddrPortFrom(s.addrs[n/ports], uint16(firstPort+n%ports)))
		if err := syscall.Bind(fd, sa); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no free source port")
}

func (s *sources) save() error {
	return os.WriteFile(s.file, fmt.Appendln(nil, s.next), 0o644)
}
