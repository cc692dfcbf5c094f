package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// tcpFlags are the bits of the flag byte of a TCP header (RFC 9293, 3.1).
var tcpFlags = map[string]uint32{"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16}

// cmdTCP prints the TCP packets on an interface whose flags are as wanted, a
// line each: nanoseconds, source, destination.
func cmdTCP(args []string) error {
	f := flag.NewFlagSet("tcp", flag.ExitOnError)
	ifname := f.String("if", "eth0", "interface")
	only := f.String("only", "", "flags of which all are set and no other, e.g. SYN or SYN,ACK")
	any := f.String("any", "", "flags of which one is set")
	source := f.String("src", "0.0.0.0/0", "from this network")
	destination := f.String("dst", "0.0.0.0/0", "to this network")
	dur := f.Duration("for", time.Hour, "how long; SIGTERM ends it earlier")
	f.Parse(args)
	filter, err := tcpFilter(*only, *any, *source, *destination)
	if err != nil {
		return err
	}
	fd, err := packetSocket(*ifname, filter)
	if err != nil {
		return err
	}
	// Bursts of thousands a second must find room.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 16<<20); err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	stop := stopped()
	buf, oob := make([]byte, 128), make([]byte, 128)
	for begin := time.Now(); time.Since(begin) < *dur && !stop.Load(); {
		n, oobn, _, _, err := syscall.Recvmsg(fd, buf, oob, 0)
		if err != nil {
			continue // the receive timeout, to look at the clock
		}
		if from, to, ok := endpoints(buf[:n]); ok {
			fmt.Fprintln(out, stamp(oob[:oobn]).UnixNano(), from, to)
		}
	}
	return out.Flush()
}

// endpoints of an IPv4 packet with TCP in it.
func endpoints(p []byte) (from, to netip.AddrPort, ok bool) {
	if len(p) < 20 || p[0]>>4 != 4 {
		return from, to, false
	}
	header := int(p[0]&15) * 4
	if len(p) < header+4 {
		return from, to, false
	}
	at := func(address, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[address:])), binary.BigEndian.Uint16(p[header+port:]))
	}
	return at(12, 0), at(16, 2), true
}

// tcpFilter is the kernel's filter for the flags and networks of cmdTCP.
func tcpFilter(only, any, source, destination string) ([]syscall.SockFilter, error) {
	want, err := flagBits(only)
	if err != nil {
		return nil, err
	}
	some, err := flagBits(any)
	if err != nil || (want == 0) == (some == 0) {
		return nil, errors.Join(err, errors.New("wanted: either -only FLAGS or -any FLAGS"))
	}
	const tcp, protocolAt, sourceAt, destinationAt, flagsAt = 6, 9, 12, 16, 13
	const refuse = 0xff // put in for a jump to the end
	code := []syscall.SockFilter{{Code: bpfLoadByte, K: protocolAt}, {Code: bpfJumpEqual, Jf: refuse, K: tcp}}
	for _, n := range []struct {
		text string
		at   uint32
	}{{source, sourceAt}, {destination, destinationAt}} {
		network, err := netip.ParsePrefix(n.text)
		if err != nil || !network.Addr().Is4() {
			return nil, fmt.Errorf("%q is no IPv4 network like 10.8.0.0/24", n.text)
		}
		mask := uint32(0xffffffff << (32 - network.Bits()))
		address := network.Masked().Addr().As4()
		code = append(code, syscall.SockFilter{Code: bpfLoadWord, K: n.at}, syscall.SockFilter{Code: bpfAnd, K: mask},
			syscall.SockFilter{Code: bpfJumpEqual, Jf: refuse, K: binary.BigEndian.Uint32(address[:])})
	}
	code = append(code, syscall.SockFilter{Code: bpfHeaderToX}, syscall.SockFilter{Code: bpfLoadByteX, K: flagsAt})
	if want != 0 {
		code = append(code, syscall.SockFilter{Code: bpfJumpEqual, Jf: refuse, K: want})
	} else {
		code = append(code, syscall.SockFilter{Code: bpfJumpAnyBit, Jf: refuse, K: some})
	}
	code = append(code, syscall.SockFilter{Code: bpfReturn, K: 0xffff}, syscall.SockFilter{Code: bpfReturn})
	for i := range code {
		if code[i].Jf == refuse {
			code[i].Jf = uint8(len(code) - i - 2)
		}
	}
	return code, nil
}

func flagBits(text string) (bits uint32, err error) {
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		bit, ok := tcpFlags[strings.ToUpper(name)]
		if !ok {
			return 0, fmt.Errorf("no TCP flag %q", name)
		}
		bits |= bit
	}
	return bits, nil
}
