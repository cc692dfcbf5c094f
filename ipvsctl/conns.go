package ipvsctl

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// ConnsPath is the kernel's list of connection entries, in the network
// namespace of the reading thread. There is no netlink request for it.
const ConnsPath = "/proc/net/ip_vs_conn"

// Conn is one connection entry. A persistence template has client port 0 and
// state NONE; one of a service by mark has protocol IP and the mark as Virtual's address.
type Conn struct {
	Protocol              string // TCP, UDP, SCTP, IP
	Client, Virtual, Dest netip.AddrPort
	State                 string // ESTABLISHED, FIN_WAIT, …, UDP, NONE
	Expires               time.Duration
	PEName, PEData        string
	// Origin is LOCAL or SYNC in /proc/net/ip_vs_conn_sync, else "".
	Origin string
}

// Template says that the entry is one of persistence, not a connection.
func (c Conn) Template() bool { return c.Client.Port() == 0 }

// ReadConns calls each for every entry of a list in the format of
// /proc/net/ip_vs_conn or ip_vs_conn_sync. It holds one line at a time: tables
// have millions. An error of each ends it and is returned; a line that is no
// entry is an error that names it.
func ReadConns(r io.Reader, each func(Conn) error) error {
	s := bufio.NewScanner(r)
	origin := false
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		if strings.HasPrefix(line, "Pro ") {
			origin = strings.Contains(line, " Origin ")
			continue
		}
		c, err := parseConn(line, origin)
		if err != nil {
			return fmt.Errorf("connection list, line %d: %w", n, err)
		}
		if err := each(c); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("connection list: %w", err)
	}
	return nil
}

// ReadConnsFile is ReadConns of a file, for one ConnsPath.
func ReadConnsFile(path string, each func(Conn) error) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return fmt.Errorf("%w (no %s)", ErrNoIPVS, path)
	}
	if err != nil {
		return fmt.Errorf("cannot read the connection list: %w", err)
	}
	defer f.Close()
	return ReadConns(f, each)
}

// parseConn reads one line (net/netfilter/ipvs/ip_vs_conn.c, ip_vs_conn_seq_show).
func parseConn(line string, origin bool) (Conn, error) {
	var c Conn
	w := strings.Fields(line)
	want := 9
	if origin {
		want = 10
	}
	if len(w) < want {
		return c, fmt.Errorf("%d columns, want %d", len(w), want)
	}
	c.Protocol, c.State = w[0], w[7]
	for i, to := range []*netip.AddrPort{&c.Client, &c.Virtual, &c.Dest} {
		ap, err := hexAddrPort(w[1+2*i], w[2+2*i])
		if err != nil {
			return c, err
		}
		*to = ap
	}
	rest := w[8:]
	if origin {
		c.Origin, rest = rest[0], rest[1:]
	}
	secs, err := strconv.ParseUint(rest[0], 10, 32)
	if err != nil {
		return c, fmt.Errorf("%q is no time", rest[0])
	}
	c.Expires = time.Duration(secs) * time.Second
	if len(rest) > 1 {
		c.PEName, c.PEData = rest[1], strings.Join(rest[2:], " ")
	}
	return c, nil
}

// hexAddrPort reads an IPv4 address as eight hexadecimal digits, an IPv6
// address as eight full groups, and a port as four digits.
func hexAddrPort(addr, port string) (netip.AddrPort, error) {
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(port) != 4 {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", port)
	}
	if len(addr) == 8 {
		if b, err := hex.DecodeString(addr); err == nil {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), uint16(p)), nil
		}
	}
	a, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	if err != nil || !a.Is6() || a.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", addr)
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}
