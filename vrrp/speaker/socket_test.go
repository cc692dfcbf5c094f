package speaker

import (
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lvs-ha/vrrp"
)

func TestWireAllocatesNothing(t *testing.T) {
	// Datagrams over loopback UDP look the same to sendmsg and recvmsg.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		t.Fatal(err)
	}
	var w wire
	var p packet
	m := make([]byte, 12)
	dst := netip.MustParseAddr("127.0.0.1")
	if n := testing.AllocsPerRun(100, func() { _ = w.send(fd, 0, dst, dst, m) }); n != 0 {
		t.Errorf("send allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = w.receive(fd, vrrp.IPv4, &p) }); n != 0 {
		t.Errorf("receive of nothing allocates %v times", n)
	}
}

func FuzzSplitIPv4(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 20, 0, 0, 0, 0, 255, 112, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0x4f, 0, 0, 60})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := packet{payload: b}
		if splitIPv4(&p) == nil && (len(p.payload) > len(b)-20 || !p.src.Is4()) {
			t.Errorf("%d octets of %d", len(p.payload), len(b))
		}
	})
}

func TestWithoutRawSockets(t *testing.T) {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what it lost
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var d [2]unix.CapUserData
		if err := unix.Capget(&h, &d[0]); err != nil {
			result <- err
			return
		}
		d[0].Effective &^= 1 << unix.CAP_NET_RAW
		if err := unix.Capset(&h, &d[0]); err != nil {
			result <- err
			return
		}
		result <- mayOpen(vrrp.IPv4)
	}()
	if err := <-result; !errors.Is(err, errNoRaw) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("%v", err)
	}
}
