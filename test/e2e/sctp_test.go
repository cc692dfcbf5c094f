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
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/lab"
)

const (
	sctpPort = 9000
	// A range of ports, which the kernel knows as a mark.
	sctpFirst, sctpLast = 9100, 9103
)

// needSCTP skips where the kernel has none.
func needSCTP(t *testing.T) {
	t.Helper()
	fd, err := sctpSocket()
	if err != nil {
		missing(t, "ipvs", "this kernel has no SCTP (modprobe sctp): "+err.Error())
	}
	unix.Close(fd)
}

func sctpSocket() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
}

// sctpFile hands a socket to package net, which takes it for TCP: reading,
// writing, accepting and time limits are the same.
func sctpFile[T any](fd int, use func(*os.File) (T, error)) (T, error) {
	f := os.NewFile(uintptr(fd), "sctp")
	defer f.Close()
	return use(f)
}

// serveSCTP answers each line with the server's name and the line. A socket
// bound to one address offers no other: clients know nothing of the server's own.
func (s *scene) serveSCTP(srv *lab.Server, at netip.AddrPort) {
	s.Helper()
	var ln net.Listener
	s.must(srv.Do(func() error {
		fd, err := sctpSocket()
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Bind(fd, sctpAddr(at)), unix.Listen(fd, 64)); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		ln, err = sctpFile(fd, net.FileListener)
		return err
	}))
	s.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if _, err := io.WriteString(c, srv.Name+" "+line); err != nil {
						return
					}
				}
			}()
		}
	}()
}

func sctpAddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// associate opens an association from one address of the client.
func (s *scene) associate(from netip.Addr, to netip.AddrPort) (c net.Conn, err error) {
	err = s.Client.Do(func() error {
		fd, err := sctpSocket()
		if err != nil {
			return err
		}
		err = errors.Join(unix.Bind(fd, sctpAddr(netip.AddrPortFrom(from, 0))),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 2}))
		if err == nil {
			err = unix.Connect(fd, sctpAddr(to))
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		c, err = sctpFile(fd, net.FileConn)
		return err
	})
	return c, err
}

// says sends a line over an association and tells which server answered.
func says(c net.Conn) (string, error) {
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return "", err
	}
	return strings.Fields(line)[0], nil
}

// associations opens some to ports in turn, one after the other, and tells who answered.
func (s *scene) associations(n int, ports ...int) (out answers) {
	s.Helper()
	for i := range n {
		c, err := s.associate(source(i), vipPort(ports[i%len(ports)]))
		if err == nil {
			var name string
			name, err = says(c)
			out = append(out, name)
			c.Close()
		}
		if err != nil {
			s.Errorf("association %d of %d to ports %v: %v", i+1, n, ports, err)
			return out
		}
	}
	return out
}

// TestSCTP: associations are spread, a server of weight 0 gets no new one and
// keeps those it has, and they live on when the director dies; by direct
// routing and by NAT, by address and by a range of ports.
func TestSCTP(t *testing.T) {
	binary(t)
	needIPVS(t)
	needProgram(t, "nft")
	needSCTP(t)
	for _, mode := range []lab.Mode{lab.DR, lab.NAT} {
		t.Run(string(mode), func(t *testing.T) { sctpThrough(t, mode) })
	}
}

func sctpThrough(t *testing.T, mode lab.Mode) {
	s := open(t, lab.Options{Mode: mode, Servers: 2})
	service := func(name, ports string) string {
		text := fmt.Sprintf("[[service]]\nname = %q\naddress = %q\n%s\nprotocol = \"sctp\"\nservers = [", name, lab.VIP, ports)
		for i, a := range s.set.Servers {
			text += fmt.Sprintf("{ name = \"web%d\", address = %q }, ", i+1, a)
		}
		// SCTP has no check of its own: what answers over TCP stands for it.
		return text + fmt.Sprintf("]\n[[service.check]]\ntype = \"tcp\"\nport = %d\n", lab.TCPPort)
	}
	s.set.Extra = service("signal", fmt.Sprintf("port = %d", sctpPort)) + service("range", fmt.Sprintf("ports = \"%d-%d\"", sctpFirst, sctpLast))
	for _, srv := range s.Servers {
		at := srv.Addr
		if mode == lab.DR {
			at = lab.VIP
		}
		for _, port := range []int{sctpPort, sctpFirst, sctpLast} {
			s.serveSCTP(srv, netip.AddrPortFrom(at, uint16(port)))
		}
	}
	s.start()
	both := func(ports ...int) {
		t.Helper()
		if got := s.associations(8, ports...); len(got.counts()) != 2 || got.counts()["web1"] != 4 {
			t.Errorf("ports %v: %s, want both servers in turn", ports, got)
		}
	}
	both(sctpPort)
	both(sctpFirst, sctpFirst, sctpLast, sctpLast)
	if out := s.ipvsadm(s.lvs1, "-Lnc"); !strings.Contains(out, "SCTP") {
		t.Errorf("no association among the connections:\n%s", out)
	}

	// One association to each server.
	held := map[string]net.Conn{}
	for i := range 2 {
		c, err := s.associate(source(i), vipPort(sctpPort))
		s.must(err)
		defer c.Close()
		name, err := says(c)
		s.must(err)
		held[name] = c
	}
	if len(held) != 2 {
		t.Fatalf("two associations, but %d servers", len(held))
	}
	alive := func(when string) {
		t.Helper()
		for name, c := range held {
			if got, err := says(c); err != nil || got != name {
				t.Errorf("%s: the association to %s: answer %q, %v", when, name, got, err)
			}
		}
	}
	weight := func(want int) {
		t.Helper()
		s.slowly(10*time.Second, fmt.Sprintf("web1 has weight %d", want), func() error {
			out := s.ipvsadm(s.lvs1, "-Sn")
			for line := range strings.Lines(out) {
				if strings.Contains(line, "--sctp") && strings.Contains(line, s.Servers[0].Addr.String()) && strings.HasSuffix(line, fmt.Sprintf("-w %d\n", want)) {
					return nil
				}
			}
			return errors.New(out)
		})
	}
	s.must(s.Servers[0].Kill(s.ctx)) // the program that is checked
	weight(0)
	for _, ports := range [][]int{{sctpPort}, {sctpFirst, sctpLast}} {
		if got := s.associations(6, ports...); got.counts()["web2"] != 6 {
			t.Errorf("web1 is down, ports %v: %s", ports, got)
		}
	}
	alive("web1 has weight 0")
	s.must(s.Servers[0].Start(s.ctx))
	weight(1)
	both(sctpPort)

	// Enough packets for the sync daemon, then the director dies.
	for range 3 {
		alive("before the director dies")
	}
	s.slowly(10*time.Second, "lvs2 knows both associations", func() error {
		if out := s.ipvsadm(s.lvs2, "-Lnc"); strings.Count(out, "ESTABLISHED") < 2 {
			return errors.New(out)
		}
		return nil
	})
	s.must(s.lvs1.Kill(s.ctx))
	s.vip(s.lvs2, true, 10*time.Second)
	alive("lvs1 is dead")
	both(sctpPort)
}
