package main

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEndpoints(t *testing.T) {
	packet := append([]byte{0x46, 11: 0}, 10, 0, 0, 1, 10, 8, 0, 7, 1, 1, 1, 1, 0x30, 0x39, 0, 80)
	from, to, ok := endpoints(packet)
	if !ok || from.String() != "10.0.0.1:12345" || to.String() != "10.8.0.7:80" {
		t.Errorf("%v %v %v", from, to, ok)
	}
	for _, bad := range [][]byte{nil, packet[:27], append([]byte{0x60}, packet[1:]...)} {
		if _, _, ok := endpoints(bad); ok {
			t.Errorf("% x was taken", bad)
		}
	}
}

// The kernel itself says what a filter lets through: a connection to a closed
// port of the loopback device is a SYN and the RST that answers it.
func TestTCPFilter(t *testing.T) {
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(closed.Addr().String())
	closed.Close()
	see := func(only, any, src, dst string) (to []string) {
		t.Helper()
		filter, err := tcpFilter(only, any, src, dst)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := packetSocket("lo", filter)
		if err != nil {
			t.Skip("packet sockets want CAP_NET_RAW: ", err)
		}
		defer syscall.Close(fd)
		if c, err := net.Dial("tcp4", port.String()); err == nil {
			c.Close()
			t.Fatal("connected to a closed port")
		}
		buf, oob := make([]byte, 128), make([]byte, 128)
		// What was sent on loopback has been delivered when Dial returns.
		for range 50 {
			n, oobn, _, from, err := syscall.Recvmsg(fd, buf, oob, syscall.MSG_DONTWAIT)
			if err != nil {
				return to
			}
			if from.(*syscall.SockaddrLinklayer).Pkttype == syscall.PACKET_OUTGOING {
				continue // loopback shows each packet twice
			}
			a, b, _ := endpoints(buf[:n])
			if time.Since(stamp(oob[:oobn])).Abs() > time.Minute {
				t.Error("a stamp of another time")
			}
			switch port {
			case b:
				to = append(to, "there")
			case a:
				to = append(to, "back")
			}
		}
		return to
	}
	for _, c := range []struct{ only, any, src, dst, want string }{
		{"SYN", "", "0.0.0.0/0", "127.0.0.0/8", "there"},
		{"RST,ACK", "", "127.0.0.1/32", "0.0.0.0/0", "back"},
		{"RST", "", "0.0.0.0/0", "0.0.0.0/0", ""}, // never without ACK
		{"", "RST", "0.0.0.0/0", "0.0.0.0/0", "back"},
		{"", "RST,SYN", "0.0.0.0/0", "127.0.0.1/32", "there back"},
		{"SYN", "", "0.0.0.0/0", "127.1.0.0/16", ""},
		{"SYN", "", "127.0.0.2/32", "0.0.0.0/0", ""},
	} {
		if got := strings.Join(see(c.only, c.any, c.src, c.dst), " "); got != c.want {
			t.Errorf("%+v: saw %q", c, got)
		}
	}
	for _, c := range [][4]string{{"", "", "0.0.0.0/0", "0.0.0.0/0"}, {"SYN", "RST", "0.0.0.0/0", "0.0.0.0/0"},
		{"NUL", "", "0.0.0.0/0", "0.0.0.0/0"}, {"SYN", "", "::/0", "0.0.0.0/0"}, {"SYN", "", "0.0.0.0/0", "ten"}} {
		if _, err := tcpFilter(c[0], c[1], c[2], c[3]); err == nil {
			t.Errorf("%q was taken", c)
		}
	}
}
