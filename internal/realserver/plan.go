package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Mode is how the director's packets arrive.
type Mode string

const (
	// DR: in a frame of the same segment, untouched (direct routing).
	DR Mode = "dr"
	// Tunnel: wrapped in an IPv4 packet of protocol 4.
	Tunnel Mode = "tun"
)

// TunnelLink is the device through which the kernel takes IP-IP packets of any sender.
const TunnelLink = "tunl0"

// DummyLink holds IPv6 virtual addresses unless Spec.Device says otherwise.
const DummyLink = "lvsha-vip"

// Spec says what a real server is to be prepared for.
type Spec struct {
	Mode Mode
	// VIPs are the virtual addresses, each taken as /32 or /128.
	VIPs []netip.Addr
	// Device holds them; empty for the usual one: lo for IPv4, DummyLink for
	// IPv6, TunnelLink in tunnel mode. Any other name than lo means a dummy device.
	Device string
}

// Kind of a step.
type Kind string

const (
	// Sysctl: Key has Value or one of Accept.
	Sysctl Kind = "sysctl"
	// LinkPresent: Link of LinkType exists; LinkAbsent: it does not.
	LinkPresent Kind = "link-present"
	LinkAbsent  Kind = "link-absent"
	// LinkUp and LinkDown are about the administrative state of Link.
	LinkUp   Kind = "link-up"
	LinkDown Kind = "link-down"
	// Address: Prefix is on Link; NoAddress: it is not.
	Address   Kind = "address"
	NoAddress Kind = "no-address"
)

// Step is one thing that shall be true.
type Step struct {
	Kind Kind
	// Key is the path below /proc/sys ("net/ipv4/conf/all/arp_ignore").
	Key string
	// Value is written unless Accept holds what is there already.
	Value  string
	Accept []string
	// MaxKey: the greater of Key and MaxKey is what the kernel obeys, and what
	// Accept is held against.
	MaxKey string
	Link   string
	// LinkType is the rtnetlink kind: "dummy" or "ipip".
	LinkType string
	Prefix   netip.Prefix
	// Why is for people.
	Why string
}

func (s Step) String() string {
	switch s.Kind {
	case Sysctl:
		return fmt.Sprintf("sysctl %s = %s", dotted(s.Key), s.Value)
	case LinkPresent:
		return fmt.Sprintf("link %s of type %s", s.Link, s.LinkType)
	case LinkAbsent:
		return fmt.Sprintf("no link %s", s.Link)
	case LinkUp:
		return fmt.Sprintf("link %s up", s.Link)
	case LinkDown:
		return fmt.Sprintf("link %s down", s.Link)
	case Address:
		return fmt.Sprintf("address %s on %s", s.Prefix, s.Link)
	case NoAddress:
		return fmt.Sprintf("no address %s on %s", s.Prefix, s.Link)
	}
	return "unknown step " + string(s.Kind)
}

// dotted is a sysctl key as people write it; a device name with a dot in it
// keeps the slashes, as sysctl(8) wants it.
func dotted(key string) string {
	if strings.Contains(key, ".") {
		return key
	}
	return strings.ReplaceAll(key, "/", ".")
}

// families splits the addresses, each family in the order of the spec and without repetition.
func (s Spec) families() (v4, v6 []netip.Addr, err error) {
	if len(s.VIPs) == 0 {
		return nil, nil, errors.New("no virtual address given")
	}
	for _, a := range s.VIPs {
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "":
			return nil, nil, fmt.Errorf("%v cannot be a virtual address", a)
		case a.Is4():
			if !slices.Contains(v4, a) {
				v4 = append(v4, a)
			}
		case a.Is4In6():
			return nil, nil, fmt.Errorf("%v: write it as an IPv4 address", a)
		case !slices.Contains(v6, a):
			v6 = append(v6, a)
		}
	}
	switch s.Mode {
	case DR:
	case Tunnel:
		if len(v6) > 0 {
			return nil, nil, fmt.Errorf("%v: tunnel mode is IPv4 over IPv4 only; use dr for IPv6", v6[0])
		}
	default:
		return nil, nil, fmt.Errorf("mode %q: a real server is prepared for dr or tun (nat needs only its default route through the director)", s.Mode)
	}
	return v4, v6, nil
}

// device is where the addresses of a family go.
func (s Spec) device(v6 bool) string {
	switch {
	case s.Device != "":
		return s.Device
	case s.Mode == Tunnel:
		return TunnelLink
	case v6:
		return DummyLink
	}
	return "lo"
}

// Plan lists what must be true, in the order in which it is made true.
func Plan(s Spec) ([]Step, error) {
	v4, v6, err := s.families()
	if err != nil {
		return nil, err
	}
	var steps []Step
	if len(v4) > 0 {
		steps = append(steps, s.plan4(v4)...)
	}
	if len(v6) > 0 {
		steps = append(steps, s.plan6(v6)...)
	}
	return steps, nil
}

func (s Spec) plan4(vips []netip.Addr) []Step {
	dev := s.device(false)
	// "all" first: it holds for the interface the requests come in by.
	steps := arp("all")
	switch {
	case s.Mode == Tunnel:
		steps = append(steps, Step{Kind: LinkPresent, Link: dev, LinkType: "ipip",
			Why: "takes the director's IP-IP packets; the kernel loads its module ipip for it"})
	case dev != "lo":
		steps = append(steps, Step{Kind: LinkPresent, Link: dev, LinkType: "dummy", Why: "holds the virtual addresses"})
	}
	steps = append(steps, arp(dev)...)
	if s.Mode == Tunnel {
		// net/ipv4/fib_frontend.c: the filter is max(all, device). Strict mode
		// drops the unwrapped packet, for the way back to the client does not
		// lead through the tunnel. Loose (2) passes whatever "all" holds.
		steps = append(steps, Step{Kind: Sysctl, Key: conf4(dev, "rp_filter"), MaxKey: conf4("all", "rp_filter"),
			Value: "2", Accept: []string{"0", "2"},
			Why: "strict reverse-path filtering would drop what comes out of the tunnel"})
	}
	steps = append(steps, Step{Kind: LinkUp, Link: dev})
	for _, a := range vips {
		steps = append(steps, Step{Kind: Address, Link: dev, Prefix: netip.PrefixFrom(a, 32),
			Why: "last, when nobody can hear of it any more"})
	}
	return steps
}

// arp keeps dev silent: answer only for addresses of the interface asked on,
// and never name the virtual address as the sender of a request.
func arp(dev string) []Step {
	return []Step{
		{Kind: Sysctl, Key: conf4(dev, "arp_ignore"), Value: "1", Accept: []string{"1", "2"},
			Why: "no ARP answers for the virtual address"},
		{Kind: Sysctl, Key: conf4(dev, "arp_announce"), Value: "2", Accept: []string{"2"},
			Why: "no ARP requests in the name of the virtual address"},
	}
}

func conf4(dev, name string) string { return "net/ipv4/conf/" + dev + "/" + name }
func conf6(dev, name string) string { return "net/ipv6/conf/" + dev + "/" + name }

// plan6: neighbour discovery answers only for addresses of the interface that
// was asked on, so a device of its own keeps the address silent; the device
// takes no part in neighbour discovery and the address is not probed for
// duplicates, which it has on purpose.
func (s Spec) plan6(vips []netip.Addr) []Step {
	dev := s.device(true)
	var steps []Step
	if dev != "lo" {
		steps = append(steps, Step{Kind: LinkPresent, Link: dev, LinkType: "dummy",
			Why: "holds the virtual addresses, without ARP and neighbour discovery"})
	}
	steps = append(steps,
		Step{Kind: Sysctl, Key: conf6(dev, "disable_ipv6"), Value: "0", Accept: []string{"0"}},
		Step{Kind: Sysctl, Key: conf6(dev, "accept_dad"), Value: "0", Accept: []string{"0", "-1"},
			Why: "the director has the address too; that is no conflict"},
		Step{Kind: LinkUp, Link: dev})
	for _, a := range vips {
		steps = append(steps, Step{Kind: Address, Link: dev, Prefix: netip.PrefixFrom(a, 128)})
	}
	return steps
}

// RemovePlan lists what makes a server an ordinary machine again: addresses
// first, then devices that only hold them, ARP settings last. With
// keepSettings the settings stay, because other virtual addresses need them.
// The reverse-path filter is left alone: what it was before is not known here
// (Apply's undo list knows).
func RemovePlan(s Spec, keepSettings bool) ([]Step, error) {
	steps, err := Plan(s)
	if err != nil {
		return nil, err
	}
	var out []Step
	for _, st := range slices.Backward(steps) {
		switch st.Kind {
		case Address:
			out = append(out, Step{Kind: NoAddress, Link: st.Link, Prefix: st.Prefix})
		case LinkUp:
			if !keepSettings && st.Link != "lo" {
				out = append(out, Step{Kind: LinkDown, Link: st.Link})
			}
		case LinkPresent:
			// tunl0 belongs to the module and cannot be deleted.
			if !keepSettings && st.LinkType == "dummy" {
				out = append(out, Step{Kind: LinkAbsent, Link: st.Link, LinkType: st.LinkType})
			}
		case Sysctl:
			if keepSettings || st.MaxKey != "" || strings.HasPrefix(st.Key, "net/ipv6/") {
				continue
			}
			if st.Key != conf4("all", "arp_ignore") && st.Key != conf4("all", "arp_announce") && s.device(false) != "lo" && s.Mode != Tunnel {
				continue // gone with the dummy device
			}
			out = append(out, Step{Kind: Sysctl, Key: st.Key, Value: "0", Accept: []string{"0"}})
		case LinkAbsent, LinkDown, NoAddress:
			// never in a plan that prepares
		}
	}
	return out, nil
}
