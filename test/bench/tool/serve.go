package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
)

// server answers HTTP requests with its name and closes, and echoes lines,
// with its name in front, on connections whose first line is not a request.
type server struct {
	ep     int
	kind   map[int]socketKind
	name   string
	answer []byte
	buf    []byte
}

type socketKind int

const (
	tcpListener socketKind = iota + 1
	udpSocket
	tcpConn
)

func cmdServe(args []string) error {
	f := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := f.String("listen", "0.0.0.0:80", "addresses, comma separated")
	udp := f.String("udp", "", "UDP echo addresses, comma separated")
	name := f.String("name", "rs", "what to answer")
	status := f.String("status", "200 OK", "HTTP status")
	f.Parse(args)
	runtime.LockOSThread()
	ep, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	s := &server{ep: ep, kind: map[int]socketKind{}, name: *name, buf: make([]byte, 65536),
		answer: fmt.Appendf(nil, "HTTP/1.0 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", *status, len(*name)+1, *name)}
	for _, l := range []struct {
		list string
		kind socketKind
	}{{*listen, tcpListener}, {*udp, udpSocket}} {
		for _, addr := range strings.Split(l.list, ",") {
			if addr == "" {
				continue
			}
			if err := s.open(addr, l.kind); err != nil {
				return fmt.Errorf("listen on %s: %w", addr, err)
			}
		}
	}
	return s.run()
}

func (s *server) open(addr string, kind socketKind) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	sa, family := sockaddr(ap)
	typ := syscall.SOCK_STREAM
	if kind == udpSocket {
		typ = syscall.SOCK_DGRAM
	}
	fd, err := syscall.Socket(family, typ|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if kind == tcpListener {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if err := syscall.Bind(fd, sa); err != nil {
		return err
	}
	if kind == tcpListener {
		if err := syscall.Listen(fd, 4096); err != nil {
			return err
		}
	}
	s.kind[fd] = kind
	return epollAdd(s.ep, fd, syscall.EPOLLIN)
}

func (s *server) run() error {
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := syscall.EpollWait(s.ep, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			switch s.kind[fd] {
			case tcpListener:
				s.accept(fd)
			case udpSocket:
				s.echo(fd)
			case tcpConn:
				if s.serve(fd) {
					delete(s.kind, fd)
				}
			}
		}
	}
}

func (s *server) accept(listener int) {
	for {
		fd, _, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		// The request is often there already.
		if s.serve(fd) {
			continue
		}
		s.kind[fd] = tcpConn
		if epollAdd(s.ep, fd, syscall.EPOLLIN) != nil {
			delete(s.kind, fd)
			syscall.Close(fd)
		}
	}
}

func (s *server) echo(fd int) {
	for {
		k, from, err := syscall.Recvfrom(fd, s.buf, 0)
		if err != nil {
			return
		}
		syscall.Sendto(fd, s.buf[:k], 0, from)
	}
}

// serve handles what is readable; true when it closed the connection.
func (s *server) serve(fd int) bool {
	k, err := syscall.Read(fd, s.buf)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != nil || k == 0:
		syscall.Close(fd)
		return true
	case bytes.HasPrefix(s.buf[:k], []byte("GET ")):
		syscall.Write(fd, s.answer)
		syscall.Close(fd)
		return true
	default:
		syscall.Write(fd, append([]byte(s.name+" "), s.buf[:k]...))
		return false
	}
}
