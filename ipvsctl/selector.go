package ipvsctl

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Selector chooses services by what a person writes. The zero value chooses all.
type Selector struct {
	// Protocol 0 stands for any.
	Protocol Protocol
	Addr     netip.Addr
	// Port nil stands for any.
	Port *uint16
	// FWMark with Family 0 stands for both families.
	FWMark uint32
	Family uint8
}

// ParseSelector reads "tcp 192.0.2.1:80", "192.0.2.1:80", "192.0.2.1",
// "[2001:db8::1]:80", "fwmark 7" and "fwmark 7 ipv6", that is, whatever
// ServiceKey.String writes, and less; a slash does for a blank. Empty text
// chooses all.
func ParseSelector(text string) (Selector, error) {
	var s Selector
	w := strings.Fields(strings.ReplaceAll(text, "/", " "))
	if len(w) == 0 {
		return s, nil
	}
	bad := fmt.Errorf("%q names no service: write it like \"tcp 192.0.2.1:80\", \"192.0.2.1\" or \"fwmark 7\"", text)
	if w[0] == "fwmark" {
		return s.mark(w[1:], bad)
	}
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if w[0] == p.String() {
			s.Protocol, w = p, w[1:]
			break
		}
	}
	if len(w) != 1 {
		return Selector{}, bad
	}
	if ap, err := netip.ParseAddrPort(w[0]); err == nil {
		port := ap.Port()
		s.Addr, s.Port = ap.Addr().Unmap(), &port
	} else if s.Addr, err = netip.ParseAddr(strings.Trim(w[0], "[]")); err != nil {
		return Selector{}, bad
	}
	s.Addr = s.Addr.Unmap()
	if s.Addr.Zone() != "" {
		return Selector{}, bad
	}
	return s, nil
}

func (s Selector) mark(w []string, bad error) (Selector, error) {
	switch {
	case len(w) == 2 && w[1] == "ipv6":
		s.Family = 6
	case len(w) == 2 && w[1] == "ipv4":
		s.Family = 4
	case len(w) != 1:
		return Selector{}, bad
	}
	n, err := strconv.ParseUint(w[0], 10, 32)
	if err != nil || n == 0 {
		return Selector{}, bad
	}
	s.FWMark = uint32(n)
	return s, nil
}

// SelectorOf chooses exactly one service.
func SelectorOf(k ServiceKey) Selector {
	if k.FWMark != 0 {
		return Selector{FWMark: k.FWMark, Family: k.Family}
	}
	port := k.Port
	return Selector{Protocol: k.Protocol, Addr: k.Addr, Port: &port}
}

// Service says whether the service is chosen.
func (s Selector) Service(k ServiceKey) bool {
	if s.FWMark != 0 {
		return k.FWMark == s.FWMark && (s.Family == 0 || k.Family == s.Family)
	}
	if !s.Addr.IsValid() {
		return s.Protocol == 0 || k.FWMark == 0 && k.Protocol == s.Protocol
	}
	return k.FWMark == 0 && (s.Protocol == 0 || k.Protocol == s.Protocol) && k.Addr == s.Addr && (s.Port == nil || k.Port == *s.Port)
}

// Conn says whether the entry belongs to a chosen service. An entry tells no
// mark, but for a template of persistence; a service of port 0 has entries of
// any port.
func (s Selector) Conn(c Conn) bool {
	mark, marked := c.FWMark()
	if s.FWMark != 0 {
		return marked && mark == s.FWMark && (s.Family == 0 || (s.Family == 6) == c.Virtual.Addr().Is6())
	}
	if s.Protocol != 0 && c.Protocol != strings.ToUpper(s.Protocol.String()) {
		return false
	}
	return !s.Addr.IsValid() || !marked && c.Virtual.Addr() == s.Addr && (s.Port == nil || *s.Port == 0 || c.Virtual.Port() == *s.Port)
}

// FWMark is the mark of a template of persistence that belongs to a service by
// mark; false for all other entries. It is the first word of the virtual
// address, in network order (net/netfilter/ipvs/ip_vs_core.c, ip_vs_sched_persist).
func (c Conn) FWMark() (uint32, bool) {
	if c.Protocol != "IP" || !c.Virtual.Addr().IsValid() {
		return 0, false
	}
	return binary.BigEndian.Uint32(c.Virtual.Addr().AsSlice()), true
}
