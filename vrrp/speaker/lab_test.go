package speaker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/netnstest"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// segment is a bridge in the tests' namespace with nodes around it.
type segment struct {
	t      *testing.T
	name   string
	bridge netlink.Link
	nodes  int
	cap    *capture
}

var segments atomic.Int32

func newSegment(t *testing.T) *segment {
	t.Helper()
	netnstest.Need(t)
	s := &segment{t: t, name: fmt.Sprintf("sg%d", segments.Add(1))}
	la := netlink.NewLinkAttrs()
	la.Name = s.name
	off := false
	br := &netlink.Bridge{LinkAttrs: la, MulticastSnooping: &off}
	if err := netlink.LinkAdd(br); err != nil {
		t.Fatal(err)
	}
	s.bridge = br
	t.Cleanup(func() { _ = netlink.LinkDel(br) })
	if err := netlink.LinkSetUp(br); err != nil {
		t.Fatal(err)
	}
	s.cap = newCapture(t, s.name)
	return s
}

// node is a process in a namespace of its own with one interface, eth0, on the segment.
type node struct {
	stop   string // FRR: ends in order when this file appears
	t      *testing.T
	s      *segment
	cmd    *exec.Cmd
	h      *netlink.Handle // in its namespace
	port   string          // the bridge's end of its cable
	addr   netip.Addr
	mac    net.HardwareAddr
	log    *lockedBuffer
	exited chan struct{}

	// speakers only
	client *link.Client
	mu     sync.Mutex
	heard  []link.Transition
}

// attach gives a started process its cable: 10.77.0.N/24.
func (s *segment) attach(n *node) {
	s.t.Helper()
	s.nodes++
	t := s.t
	n.port = fmt.Sprintf("%sp%d", s.name, s.nodes)
	n.addr = netip.AddrFrom4([4]byte{10, 77, 0, byte(s.nodes)})
	ns, err := netns.GetFromPid(n.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if n.h, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	n.cable()
	lo, err := n.h.LinkByName("lo")
	if err == nil {
		err = n.h.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cable makes eth0 and puts it up.
func (n *node) cable() {
	n.t.Helper()
	la := netlink.NewLinkAttrs()
	la.Name = n.port
	la.MasterIndex = n.s.bridge.Attrs().Index
	v := &netlink.Veth{LinkAttrs: la, PeerName: "eth0", PeerNamespace: netlink.NsPid(n.cmd.Process.Pid)}
	if err := netlink.LinkAdd(v); err != nil {
		n.t.Fatal(err)
	}
	p, err := netlink.LinkByName(n.port)
	if err == nil {
		err = netlink.LinkSetUp(p)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	eth, err := n.h.LinkByName("eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.mac = eth.Attrs().HardwareAddr
	a := netip.PrefixFrom(n.addr, 24)
	if err := n.h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
		n.t.Fatal(err)
	}
	// A link-local address that can be used at once: duplicate detection would
	// take a second or two.
	if err := n.h.LinkSetIP6AddrGenMode(eth, 1); err != nil {
		n.t.Fatal(err)
	}
	if err := n.h.LinkSetUp(eth); err != nil {
		n.t.Fatal(err)
	}
	x := n.addr.As4()
	six := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 13: 0xaa, 15: x[3]})
	if err := n.h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(six, 64)), Flags: unix.IFA_F_NODAD}); err != nil {
		n.t.Fatal(err)
	}
}

// plug connects or disconnects the node's cable at the bridge: with off the
// node keeps its carrier and hears nobody.
func (n *node) plug(on bool) {
	n.t.Helper()
	p, err := netlink.LinkByName(n.port)
	if err != nil {
		n.t.Fatal(err)
	}
	if on {
		err = netlink.LinkSetMaster(p, n.s.bridge)
	} else {
		err = netlink.LinkSetNoMaster(p)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// has tells whether the node has the address on eth0.
func (n *node) has(ip string) bool {
	n.t.Helper()
	want := netip.MustParseAddr(ip)
	list, err := n.h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, a := range list {
		x, _ := netip.AddrFromSlice(a.IP)
		if x.Unmap() == want {
			return true
		}
	}
	return false
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// lockedBuffer collects the output of a process.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run starts the process of a node in a new namespace.
func (s *segment) run(cmd *exec.Cmd, as string, env ...string) *node {
	s.t.Helper()
	n := &node{t: s.t, s: s, cmd: cmd, log: &lockedBuffer{}, exited: make(chan struct{})}
	cmd.Env = append(append(os.Environ(), asNode+"="+as), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = n.log, n.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(n.exited) }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-n.exited
		if n.h != nil {
			n.h.Close()
		}
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if as == "speaker" && bytes.Contains([]byte(n.log.String()), []byte(bad)) {
				s.t.Errorf("node %s: %s", n.port, bad)
			}
		}
		if s.t.Failed() {
			s.t.Logf("node %s (%s):\n%s", n.port, n.addr, n.log)
		}
	})
	return n
}

// speaker starts one of ours and connects to it as its director.
func (s *segment) speaker() *node {
	s.t.Helper()
	return s.speakerWith("")
}

// speakerWith starts one that keeps a journal in a file, unless the name is empty.
func (s *segment) speakerWith(journal string) *node {
	s.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.ExtraFiles = []*os.File{theirs}
	n := s.run(cmd, "speaker", "SPEAKER_JOURNAL="+journal)
	conn, err := net.FileConn(ours)
	if err != nil {
		s.t.Fatal(err)
	}
	n.client = link.NewClient(conn, link.ClientOptions{OnTransition: func(t link.Transition) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if t.Changes() || t.Reassert {
			n.heard = append(n.heard, t)
		}
	}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.client.Run(ctx) }()
	s.t.Cleanup(func() { stop(); <-done })
	s.attach(n)
	return n
}

// keepalived starts Debian's with the given text of its instance.
func (s *segment) keepalived(config string) *node {
	s.t.Helper()
	return s.keepalivedWith(config, func(*node) {})
}

// keepalivedWith has its network made ready before the program begins.
func (s *segment) keepalivedWith(config string, ready func(*node)) *node {
	s.t.Helper()
	bin, err := exec.LookPath("keepalived")
	if err != nil {
		bin = "/usr/sbin/keepalived"
		if _, err := os.Stat(bin); err != nil {
			needKeepalived(s.t)
		}
	}
	dir := s.t.TempDir()
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", bin, "-n", "-l", "-D", "--vrrp", "-f", file,
		"-p", filepath.Join(dir, "pid"), "-r", filepath.Join(dir, "vrrp.pid"))
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	n := s.run(cmd, "exec")
	s.attach(n)
	ready(n)
	if _, err := in.Write([]byte("\n")); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func needKeepalived(t *testing.T) {
	t.Helper()
	for _, r := range bytes.Split([]byte(os.Getenv("LVSHA_REQUIRE")), []byte(",")) {
		if string(r) == "keepalived" {
			t.Fatal("keepalived is not installed")
		}
	}
	t.Skip("needs keepalived")
}

// configure is a director's first words: instances, and readiness. The election
// is in real time where that is permitted: a busy machine must not look like a
// dead one.
func (n *node) configure(in ...vrrp.Instance) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.client.Configure(ctx, link.Configure{Instances: in, Realtime: 7}); err != nil {
		n.t.Fatal(err)
	}
	n.client.SetPosture(link.Posture{Ready: true})
}

// status of the speaker, which must answer.
func (n *node) status() *link.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := n.client.Status(ctx)
	if err != nil {
		n.t.Fatalf("status: %v", err)
	}
	return st
}

func (n *node) instance() link.InstanceStatus {
	n.t.Helper()
	st := n.status()
	if len(st.Instances) != 1 {
		n.t.Fatalf("%d instances", len(st.Instances))
	}
	return st.Instances[0]
}

func (n *node) state() vrrp.State { return n.instance().State }

func (n *node) transitions() []link.Transition {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]link.Transition(nil), n.heard...)
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
}

func (n *node) terminate() {
	n.t.Helper()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(patience):
		n.t.Fatal("did not end after SIGTERM")
	}
}

// patience is what a busy machine gets at least.
const patience = 30 * time.Second

// eventually waits for a condition. The limit is that of a quiet machine.
func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	limit = max(limit, patience)
	end := time.Now().Add(limit)
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("after %s still not: %s", limit, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// frame is one that passed the bridge.
type frame struct {
	at time.Time // by the kernel: how late it is read does not count
	b  []byte
}

type capture struct {
	mu     sync.Mutex
	frames []frame
}

func newCapture(t *testing.T, name string) *capture {
	t.Helper()
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20))
	}))
	must(t, err)
	cp := &capture{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = raw.Read(cp.take)
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return cp
}

// take reads all frames that are there; it never has enough.
func (c *capture) take(fd uintptr) bool {
	buf, control := make([]byte, 4096), make([]byte, 128)
	for {
		n, controls, _, _, err := unix.Recvmsg(int(fd), buf, control, unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EINTR, unix.ENETDOWN:
			continue
		default:
			return err != unix.EAGAIN
		}
		f := frame{time.Now(), bytes.Clone(buf[:n])}
		list, _ := unix.ParseSocketControlMessage(control[:controls])
		for _, m := range list {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				f.at = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
		c.mu.Lock()
		c.frames = append(c.frames, f)
		c.mu.Unlock()
	}
}

func (c *capture) find(match func([]byte) bool) []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []frame
	for _, f := range c.frames {
		if match(f.b) {
			out = append(out, f)
		}
	}
	return out
}

// adverts of a node (IPv4); priority -1 for any.
func adverts(n *node, priority int) func([]byte) bool {
	return func(b []byte) bool {
		return len(b) >= 42 && b[12] == 8 && b[13] == 0 && b[23] == vrrp.Protocol && bytes.Equal(b[6:12], n.mac) &&
			(priority < 0 || int(b[36]) == priority)
	}
}

// gratuitous ARP of a node for an address.
func gratuitous(n *node, ip string) func([]byte) bool {
	a := netip.MustParseAddr(ip).As4()
	return func(b []byte) bool {
		return len(b) >= 42 && b[12] == 8 && b[13] == 6 && bytes.Equal(b[22:28], n.mac) &&
			bytes.Equal(b[28:32], a[:]) && bytes.Equal(b[38:42], a[:])
	}
}
