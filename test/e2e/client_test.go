package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"lvs-ha/internal/lab"
)

// serveAlso has a server listen at more addresses, with a program of its own
// that outlives the usual one.
func (s *scene) serveAlso(srv *lab.Server, tcp, udp []string) {
	s.Helper()
	self, err := os.Executable()
	s.must(err)
	_, err = srv.Host.Start("also", []string{"LVSHA_LAB_HELPER=server", "GOMAXPROCS=1"},
		[]string{self, srv.Name, strings.Join(tcp, ","), strings.Join(udp, ",")})
	s.must(err)
}

// sh runs a line of shell on a host, which must succeed.
func (s *scene) sh(h *lab.Host, line string) string {
	s.Helper()
	out, stderr, code, err := h.Run(s.ctx, "bash", "-ec", line)
	if err != nil || code != 0 {
		s.Fatalf("%s: %s: exit %d %v\n%s%s", h.Name, line, code, err, out, stderr)
	}
	return out
}

// source is the n-th of the client's addresses.
func source(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n%9)}) }

// connect opens a connection from an address of the client.
func (s *scene) connect(from netip.Addr, to netip.AddrPort) (c net.Conn, err error) {
	err = s.Client.Do(func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, FallbackDelay: -1, Timeout: 2 * time.Second}
		c, err = d.DialContext(s.ctx, "tcp", to.String())
		return err
	})
	if err == nil {
		err = c.SetDeadline(time.Now().Add(3 * time.Second))
	}
	return c, err
}

// asks makes one request and tells which server answered.
func (s *scene) asks(from netip.Addr, to netip.AddrPort) (string, error) {
	c, err := s.connect(from, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	w := strings.Fields(string(b))
	if len(w) == 0 {
		return "", errors.New("closed without an answer")
	}
	return w[len(w)-1], nil
}

// stays opens a connection that stays, and tells where.
func (s *scene) stays(from netip.Addr, to netip.AddrPort) (string, net.Conn, error) {
	c, err := s.connect(from, to)
	if err != nil {
		return "", nil, err
	}
	if _, err = io.WriteString(c, "hello\n"); err == nil {
		var line string
		if line, err = bufio.NewReader(c).ReadString('\n'); err == nil {
			return strings.Fields(line)[0], c, nil
		}
	}
	c.Close()
	return "", nil, err
}

// answers are the servers of requests, in order.
type answers []string

func (a answers) counts() map[string]int {
	m := map[string]int{}
	for _, x := range a {
		m[x]++
	}
	return m
}

func (a answers) String() string { return fmt.Sprint(a.counts()) }

// times makes n requests, the i-th from and to what the functions say.
func (s *scene) times(n int, from func(int) netip.Addr, to func(int) netip.AddrPort) (out answers) {
	s.Helper()
	for i := range n {
		name, err := s.asks(from(i), to(i))
		if err != nil {
			s.Fatalf("request %d from %s to %s: %v", i+1, from(i), to(i), err)
		}
		out = append(out, name)
	}
	return out
}

// held opens n connections one after the other; done closes them.
func (s *scene) held(n int, to netip.AddrPort) (out answers, done func()) {
	s.Helper()
	var conns []net.Conn
	done = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for i := range n {
		name, c, err := s.stays(source(i), to)
		if err != nil {
			done()
			s.Fatalf("connection %d to %s: %v", i+1, to, err)
		}
		out, conns = append(out, name), append(conns, c)
	}
	return out, done
}

var datagramPort atomic.Uint32

func init() { datagramPort.Store(20000) } // below those that the kernel chooses

// datagrams sends n from one socket and wants each back. Each socket has a port
// of its own: one that the kernel chose twice would be one connection.
func (s *scene) datagrams(n int, from netip.Addr, to netip.AddrPort, payload string) error {
	var c net.Conn
	err := s.Client.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: from.AsSlice(), Port: int(datagramPort.Add(1))}}
		c, err = d.DialContext(s.ctx, "udp", to.String())
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 2048)
	for i := range n {
		if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(c, payload); err != nil {
			return err
		}
		if _, err := c.Read(buf); err != nil {
			return fmt.Errorf("datagram %d: %w", i+1, err)
		}
	}
	return nil
}
