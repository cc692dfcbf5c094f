package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	ethARP            = 0x0806
	arpRequest        = 1
	arpReply          = 2
	arpFrame          = 42
	ethernetBroadcast = "\xff\xff\xff\xff\xff\xff"
)

// An answer says who holds an address: to our request, or to all unasked.
type answer struct {
	mac        net.HardwareAddr
	gratuitous bool
}

// cmdARP asks for an address again and again, and prints who says to hold it:
// time, MAC, "reply" or "gratuitous", a line for each.
func cmdARP(args []string) error {
	f := flag.NewFlagSet("arp", flag.ExitOnError)
	ifname := f.String("if", "eth0", "interface")
	target := f.String("for", "10.0.0.100", "address")
	source := f.String("src", "", "our address on the interface")
	every := f.Duration("every", time.Millisecond, "time between requests")
	after := f.Duration("after", 0, "listen at once, but ask only after this")
	f.Parse(args)
	want, err := netip.ParseAddr(*target)
	if err != nil {
		return err
	}
	from, err := netip.ParseAddr(*source)
	if err != nil {
		return err
	}
	itf, err := net.InterfaceByName(*ifname)
	if err != nil {
		return err
	}
	const network = ethARP>>8 | ethARP&0xff<<8
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, network)
	if err != nil {
		return err
	}
	to := &syscall.SockaddrLinklayer{Protocol: network, Ifindex: itf.Index}
	if err := syscall.Bind(fd, to); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	request := arpMessage(arpRequest, itf.HardwareAddr, from, want)
	stop := stopped()
	runtime.GOMAXPROCS(2) // so that neither of the two waits for the other
	asking := make(chan error, 1)
	go func() { asking <- ask(fd, to, request, *after, *every) }()
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100000}); err != nil {
		return err
	}
	buf, oob := make([]byte, 256), make([]byte, 128)
	for !stop.Load() {
		select {
		case err := <-asking:
			return err
		default:
		}
		n, oobn, _, sender, err := syscall.Recvmsg(fd, buf, oob, 0)
		if err != nil {
			continue // the receive timeout, to look at the flag
		}
		if ll, ok := sender.(*syscall.SockaddrLinklayer); ok && ll.Pkttype == syscall.PACKET_OUTGOING {
			continue
		}
		if a, ok := parseARP(buf[:n], want, itf.HardwareAddr); ok {
			kind := "reply"
			if a.gratuitous {
				kind = "gratuitous"
			}
			fmt.Printf("%d %s %s\n", stamp(oob[:oobn]).UnixNano(), a.mac, kind)
		}
	}
	return nil
}

// ask sends a request every so often, for ever, from a thread in real time: one
// who asks has a machine of his own, and does not wait for the director's programs.
func ask(fd int, to syscall.Sockaddr, request []byte, after, every time.Duration) error {
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 60}, 0); err != nil {
		return fmt.Errorf("real time: %w", err)
	}
	var next unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &next); err != nil {
		return err
	}
	// Not the runtime's timers: another thread would have to wake this one.
	for at := next.Nano() + int64(after); ; at += int64(every) {
		next = unix.NsecToTimespec(at)
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &next, nil) == unix.EINTR {
		}
		_ = syscall.Sendto(fd, request, 0, to) // a lost request is followed by another
	}
}

// arpMessage is a broadcast frame in which mac with address from asks for want.
func arpMessage(op uint16, mac net.HardwareAddr, from, want netip.Addr) []byte {
	b := append([]byte(ethernetBroadcast), mac...)
	b = binary.BigEndian.AppendUint16(b, ethARP)
	b = append(b, 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, mac...), from.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), want.AsSlice()...)
}

// parseARP finds out whether a frame says who holds want: a reply to ours, or
// a gratuitous request or reply, which names the address as sender and target.
func parseARP(frame []byte, want netip.Addr, ours net.HardwareAddr) (answer, bool) {
	if len(frame) < arpFrame || binary.BigEndian.Uint16(frame[12:]) != ethARP {
		return answer{}, false
	}
	op, mac, spa, tha, tpa := binary.BigEndian.Uint16(frame[20:]), frame[22:28], frame[28:32], frame[32:38], frame[38:42]
	if !bytes.Equal(spa, want.AsSlice()) {
		return answer{}, false
	}
	if bytes.Equal(spa, tpa) {
		return answer{bytes.Clone(mac), true}, true
	}
	if op == arpReply && bytes.Equal(tha, ours) {
		return answer{bytes.Clone(mac), false}, true
	}
	return answer{}, false
}
