package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
)

// Server is a real server: a host and the program that answers on it.
type Server struct {
	*Host
	// Addr is where the directors reach it.
	Addr netip.Addr
	proc *Process
}

const helperEnv = "LVSHA_LAB_HELPER"

// Main turns this process into a real server if it was started as one, and
// then never returns. Programs that use a Lab call it before anything else.
func Main() {
	if os.Getenv(helperEnv) == "" {
		return
	}
	if err := serve(os.Args[1], strings.Split(os.Args[2], ","), strings.Split(os.Args[3], ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Start starts the server's program and waits until it listens.
func (s *Server) Start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tcp := fmt.Sprintf(":%d", TCPPort) // every address, of IPv6 too
	udp := netip.AddrPortFrom(s.Addr, UDPPort).String()
	if s.lab.Mode != NAT {
		// An answer must bear the address that was asked: a UDP socket on the
		// wildcard address would answer with the server's own.
		udp += "," + netip.AddrPortFrom(VIP, UDPPort).String()
	}
	if s.proc, err = s.Host.Start("server", []string{helperEnv + "=server", "GOMAXPROCS=1"}, []string{self, s.Name, tcp, udp}); err != nil {
		return err
	}
	return Until(ctx, s.Name+" listens", func() error {
		if s.proc.Ended() {
			return fmt.Errorf("it ended: %s", s.proc.Log())
		}
		c, err := s.DialContext(ctx, "tcp", netip.AddrPortFrom(s.Addr, TCPPort).String())
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Kill ends the program with SIGKILL: its port refuses connections from then on.
func (s *Server) Kill(ctx context.Context) error { return s.proc.KillAll(ctx) }

// Break makes the program answer 503, Repair 200 again.
func (s *Server) Break() error  { return s.proc.Signal(syscall.SIGUSR1) }
func (s *Server) Repair() error { return s.proc.Signal(syscall.SIGUSR2) }

// Freeze stops the program without closing anything: the kernel goes on
// accepting connections that nobody answers. Thaw lets it go on.
func (s *Server) Freeze() error { return s.proc.Signal(syscall.SIGSTOP) }
func (s *Server) Thaw() error   { return s.proc.Signal(syscall.SIGCONT) }

// StartServers starts all of them.
func (l *Lab) StartServers(ctx context.Context) error {
	for _, s := range l.Servers {
		if err := s.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// serve answers HTTP requests with the name and closes, echoes lines with the
// name in front on connections that begin otherwise, and echoes datagrams.
func serve(name string, tcp, udp []string) error {
	var broken atomic.Bool
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range sig {
			broken.Store(s == syscall.SIGUSR1)
		}
	}()
	failed := make(chan error)
	for _, a := range udp {
		pc, err := net.ListenPacket("udp", a)
		if err != nil {
			return err
		}
		go func() { failed <- echo(pc) }()
	}
	for _, a := range tcp {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			return err
		}
		go func() { failed <- accept(ln, name, &broken) }()
	}
	return <-failed
}

func echo(pc net.PacketConn) error {
	buf := make([]byte, 2048)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			// An ICMP error for an earlier answer ends nothing.
			if errors.Is(err, syscall.ECONNREFUSED) {
				continue
			}
			return err
		}
		if _, err := pc.WriteTo(buf[:n], from); err != nil {
			continue
		}
	}
}

func accept(ln net.Listener, name string, broken *atomic.Bool) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go converse(c, name, broken)
	}
}

func converse(c net.Conn, name string, broken *atomic.Bool) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "GET ") || strings.HasPrefix(line, "HEAD ") {
			// All headers are read first: closing with unread data sends a reset.
			for line != "\r\n" && line != "\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			status := "200 OK"
			if broken.Load() {
				status = "503 Service Unavailable"
			}
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, len(name)+1, name)
			return
		}
		if _, err := io.WriteString(c, name+" "+line); err != nil {
			return
		}
	}
}

// Running tells whether the server's program is alive.
func (s *Server) Running() bool { return s.proc != nil && !s.proc.Ended() }
