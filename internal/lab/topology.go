package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/realserver"
)

// Mode is the forwarding method the lab is built for.
type Mode string

const (
	DR  Mode = "dr"
	NAT Mode = "nat"
	TUN Mode = "tun"
)

// The fixed addresses.
var (
	VIP = netip.MustParseAddr("10.0.0.100")
	// Gateway is the real servers' default route in NAT mode; it moves with the VIP.
	Gateway = netip.MustParseAddr("10.0.1.100")
)

const clientAddresses = 10

// Ports of the services: HTTP and line echo over TCP, echo over UDP.
const (
	TCPPort = 80
	UDPPort = 81
)

// Options of a lab.
type Options struct {
	// Name is part of every namespace's name: labs of different names may run
	// side by side. It holds letters and digits.
	Name string
	Mode Mode
	// Servers is the number of real servers; they are not started yet.
	Servers int
	// Back: the directors are on the back network in every mode (as eth1), so
	// that the sync daemon can have a cable of its own.
	Back bool
}

// Lab is a network of namespaces.
type Lab struct {
	Options
	// Dir holds configurations and logs of the programs; it goes with the lab.
	Dir       string
	Client    *Host
	Directors []*Host // lvs1, lvs2
	Servers   []*Server

	net     *Host // the switch
	hosts   []*Host
	ports   map[string]port // by host and interface: where its cable ends
	parted  bool            // see Part
	spawn   *spawner
	procs   []*Process
	lock    *os.File
	sources sources
}

// port is a place of the switch.
type port struct{ link, bridge string }

func (l *Lab) prefix() string { return "lvsha-" + l.Name + "-" }

// Up builds the lab, after it has removed what a crashed one of that name left.
// Whoever calls it calls Down in the end, also after an error in between.
func Up(ctx context.Context, o Options) (_ *Lab, err error) {
	l := &Lab{Options: o, ports: map[string]port{}}
	if o.Name == "" || strings.ContainsFunc(o.Name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
		return nil, fmt.Errorf("lab: bad name %q", o.Name)
	}
	if l.lock, err = takeLock(o.Name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Down())
		}
	}()
	if err := l.sweep(); err != nil {
		return nil, err
	}
	if l.Dir, err = os.MkdirTemp("", "lvsha-"+o.Name+"-"); err != nil {
		return nil, err
	}
	l.spawn = startSpawner()
	if err := l.build(); err != nil {
		return nil, err
	}
	return l, ctx.Err()
}

// takeLock keeps two labs of one name apart. It ends with the process.
func takeLock(name string) (*os.File, error) {
	path := filepath.Join(os.TempDir(), "lvsha-lab-"+name+".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another lab %q is running (%s is locked)", name, path)
	}
	return f, nil
}

// sweep removes the namespaces of a lab that ended badly. Its programs died with it.
func (l *Lab) sweep() error {
	left, err := filepath.Glob("/run/netns/" + l.prefix() + "*")
	for _, p := range left {
		err = errors.Join(err, netns.DeleteNamed(filepath.Base(p)))
	}
	return err
}

func (l *Lab) build() (err error) {
	if l.net, err = l.newHost("net"); err != nil {
		return err
	}
	for _, name := range []string{"front", "back"} {
		if err := l.net.addBridge(name); err != nil {
			return fmt.Errorf("cannot make bridge %s: %w", name, err)
		}
	}
	if l.Client, err = l.newHost("client"); err != nil {
		return err
	}
	var addrs []string
	for i := range clientAddresses {
		addrs = append(addrs, fmt.Sprintf("10.0.0.%d/24", 10+i))
	}
	if err := l.plug(l.Client, "eth0", "front", addrs...); err != nil {
		return err
	}
	for i := 1; i <= 2; i++ {
		h, err := l.buildDirector(i)
		if err != nil {
			return err
		}
		l.Directors = append(l.Directors, h)
	}
	for i := 1; i <= l.Options.Servers; i++ {
		s, err := l.buildServer(i)
		if err != nil {
			return err
		}
		l.Servers = append(l.Servers, s)
	}
	return nil
}

func (l *Lab) buildDirector(i int) (*Host, error) {
	h, err := l.newHost(fmt.Sprintf("lvs%d", i))
	if err != nil {
		return nil, err
	}
	if err := l.plug(h, "eth0", "front", fmt.Sprintf("10.0.0.%d/24", i)); err != nil {
		return nil, err
	}
	if l.Mode == NAT || l.Back {
		if err := l.plug(h, "eth1", "back", fmt.Sprintf("10.0.1.%d/24", i)); err != nil {
			return nil, err
		}
	}
	return h, h.SetSysctls(map[string]string{
		"net/ipv4/ip_forward":               "1",
		"net/ipv4/conf/all/send_redirects":  "0",
		"net/ipv4/conf/eth0/send_redirects": "0",
	})
}

// RebootDirector deletes the namespace of a director and makes it anew: kernel
// table, connections and addresses are gone as after a reboot. Its programs
// must be dead.
func (l *Lab) RebootDirector(i int) error {
	old := l.Directors[i-1]
	if err := old.close(); err != nil {
		return err
	}
	l.hosts = slices.DeleteFunc(l.hosts, func(h *Host) bool { return h == old })
	// The near ends of its cables go when the kernel gets to it; make it now.
	for _, ifc := range []string{"eth0", "eth1"} {
		if p, err := l.net.nl.LinkByName(old.Name + "-" + ifc); err == nil {
			if err := l.net.nl.LinkDel(p); err != nil && !errors.Is(err, unix.ENODEV) {
				return err
			}
		}
	}
	h, err := l.buildDirector(i)
	if err == nil {
		l.Directors[i-1] = h
	}
	return err
}

func (l *Lab) buildServer(i int) (*Server, error) {
	h, err := l.newHost(fmt.Sprintf("web%d", i))
	if err != nil {
		return nil, err
	}
	s := &Server{Host: h, Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(20 + i)})}
	bridge := "front"
	if l.Mode == NAT {
		s.Addr, bridge = netip.AddrFrom4([4]byte{10, 0, 1, byte(20 + i)}), "back"
	}
	if err := l.plug(h, "eth0", bridge, s.Addr.String()+"/24"); err != nil {
		return nil, err
	}
	switch l.Mode {
	case NAT:
		return s, h.nl.RouteAdd(&netlink.Route{Gw: Gateway.AsSlice()})
	case TUN:
		// As many machines come: strict for all. Preparing has to cope with it.
		if err := h.SetSysctls(map[string]string{"net/ipv4/conf/all/rp_filter": "1"}); err != nil {
			return nil, err
		}
		return s, s.Prepare(realserver.Spec{Mode: realserver.Tunnel, VIPs: []netip.Addr{VIP}})
	case DR:
		return s, s.Prepare(realserver.Spec{Mode: realserver.DR, VIPs: []netip.Addr{VIP}})
	}
	return nil, fmt.Errorf("lab: unknown mode %q", l.Mode)
}

// Prepare makes the machine a real server for what the spec says.
func (s *Server) Prepare(spec realserver.Spec) error {
	return s.Do(func() error {
		_, err := realserver.Prepare(spec)
		return err
	})
}

// addBridge makes a bridge that forwards at once. With its default delay a
// port only learns for its first 15 s, with or without the spanning tree.
func (h *Host) addBridge(name string) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, nl.Uint8Attr(0))
	req.AddData(info)
	if err := h.Do(func() error {
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	}); err != nil {
		return err
	}
	l, err := h.nl.LinkByName(name)
	if err != nil {
		return err
	}
	return h.nl.LinkSetUp(l)
}

// plug gives h an interface with addresses and a cable to a bridge.
func (l *Lab) plug(h *Host, ifname, bridge string, addrs ...string) error {
	at := port{link: h.Name + "-" + ifname, bridge: bridge}
	err := func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = at.link
		if err := l.net.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: ifname, PeerNamespace: netlink.NsFd(h.ns)}); err != nil {
			return err
		}
		br, err := l.net.nl.LinkByName(bridge)
		if err != nil {
			return err
		}
		near, err := l.net.nl.LinkByName(at.link)
		if err != nil {
			return err
		}
		if err := errors.Join(l.net.nl.LinkSetMaster(near, br), l.net.nl.LinkSetUp(near)); err != nil {
			return err
		}
		far, err := h.nl.LinkByName(ifname)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a)
			if err != nil {
				return err
			}
			if err := h.nl.AddrAdd(far, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}); err != nil {
				return err
			}
		}
		return h.nl.LinkSetUp(far)
	}()
	if err != nil {
		return fmt.Errorf("cannot plug %s of %s into %s: %w", ifname, h.Name, bridge, err)
	}
	l.ports[h.Name+" "+ifname] = at
	return nil
}

// Down ends every program and removes every namespace.
func (l *Lab) Down() error {
	var errs []error
	if l.spawn != nil {
		// Their own children might outlive those that merely get the death signal.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, p := range l.procs {
			errs = append(errs, p.KillAll(ctx))
		}
		l.spawn.stop()
	}
	for _, h := range slices.Backward(l.hosts) {
		errs = append(errs, h.close())
	}
	if l.Dir != "" {
		errs = append(errs, os.RemoveAll(l.Dir))
	}
	return errors.Join(append(errs, l.lock.Close())...)
}

// Rename gives an interface of the host another name.
func (h *Host) Rename(from, to string) error {
	l, err := h.nl.LinkByName(from)
	if err != nil {
		return err
	}
	return errors.Join(h.nl.LinkSetDown(l), h.nl.LinkSetName(l, to), h.nl.LinkSetUp(l))
}
