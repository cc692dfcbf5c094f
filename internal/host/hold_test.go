package host

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dialer is one connection attempt in this thread's namespace.
type dialer int

func dial(t *testing.T, to netip.AddrPort) dialer {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	return dialer(fd)
}

// connected tells whether it is within the time.
func (d dialer) connected(t *testing.T, within time.Duration) bool {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(d), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, int(within/time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := unix.GetsockoptInt(int(d), unix.SOL_SOCKET, unix.SO_ERROR); e != 0 {
		t.Fatal(unix.Errno(e))
	}
	return n > 0
}

// atOnce tells whether it is connected, and was without asking a second time,
// which TCP does after a second.
func (d dialer) atOnce(t *testing.T) bool {
	t.Helper()
	if !d.connected(t, 10*time.Second) {
		return false
	}
	info, err := unix.GetsockoptTCPInfo(int(d), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return info.Total_retrans == 0
}

// TestHoldOnKernel: what is held waits and then goes on, without being sent
// again; what else arrives is not touched; what is left behind holds nothing.
func TestHoldOnKernel(t *testing.T) {
	needNFT(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	var at [2]netip.AddrPort
	for i := range at {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		at[i] = ln.Addr().(*net.TCPAddr).AddrPort()
	}
	if end, err := hold(Held{Mark: 7}); errors.Is(err, unix.ENOENT) {
		missing(t, "ipvs", err.Error()) // a kernel for IPVS has it, too
	} else if err != nil || end() != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h := NewHolder(slog.New(slog.NewTextHandler(&log, nil)))
	before := dial(t, at[0])
	if !before.atOnce(t) {
		t.Fatal("no connection")
	}
	for range 3 {
		release := h.Hold(Held{Protocol: unix.IPPROTO_TCP, Virtual: at[0]})
		held, free := dial(t, at[0]), dial(t, at[1])
		if held.connected(t, 100*time.Millisecond) {
			t.Error("not held")
		}
		if !free.atOnce(t) {
			t.Error("another port is held")
		}
		if _, err := unix.Write(int(before), []byte("x")); err != nil {
			t.Error(err)
		}
		release()
		if !held.atOnce(t) {
			t.Error("lost, or sent again")
		}
	}
	if list := nft(t, "list", "ruleset"); strings.Contains(list, HoldTableName) || log.Len() > 0 {
		t.Error(list, log.String())
	}
	// By mark: every protocol.
	release := h.Hold(Held{Mark: 7})
	list := strings.Join(strings.Fields(nft(t, "list", "table", "inet", HoldTableName)), " ")
	for _, want := range []string{"type filter hook input", "meta mark 0x00000007", "meta l4proto != tcp", "bypass to 19542"} {
		if !strings.Contains(list, want) {
			t.Errorf("nft does not show %q: %s", want, list)
		}
	}
	release()
	// A holder that dies leaves a table that lets everything pass.
	dead, err := openQueue()
	if err != nil {
		t.Fatal(err)
	}
	number := dead.number
	dead.close()
	nft(t, "add table inet "+HoldTableName+"; add chain inet "+HoldTableName+" input { type filter hook input priority 0; }")
	nft(t, "add", "rule", "inet", HoldTableName, "input", "tcp", "flags", "syn", "queue", "flags", "bypass", "to", "19542")
	if late := dial(t, at[0]); number != firstQueue || !late.atOnce(t) {
		t.Error("what was left behind holds connections, of queue", number)
	}
	NewHolder(slog.New(slog.DiscardHandler))
	if list := nft(t, "list", "ruleset"); strings.Contains(list, HoldTableName) {
		t.Error(list)
	}
}

// TestHeldRules: a service by address has one rule, one by mark has two.
func TestHeldRules(t *testing.T) {
	for name, tt := range map[string]struct {
		held Held
		want int
	}{
		"tcp":  {Held{Protocol: unix.IPPROTO_TCP, Virtual: ap("192.0.2.1:80")}, 1},
		"udp":  {Held{Protocol: unix.IPPROTO_UDP, Virtual: ap("[2001:db8::1]:53")}, 1},
		"mark": {Held{Mark: 7, V6: true}, 2},
	} {
		if got := tt.held.compile(1); len(got) != tt.want {
			t.Errorf("%s: %d rules", name, len(got))
		}
	}
}
