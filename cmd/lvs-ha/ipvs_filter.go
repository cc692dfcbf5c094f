package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"lvs-ha/internal/control"
	"lvs-ha/ipvsctl"
)

// peer is an address, an address with a port, or a network. The zero value
// matches everything.
type peer struct {
	net  netip.Prefix
	port *uint16
}

func parsePeer(flag, text string) (peer, error) {
	if text == "" {
		return peer{}, nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil && ap.Addr().Zone() == "" {
		a, port := ap.Addr().Unmap(), ap.Port()
		return peer{netip.PrefixFrom(a, a.BitLen()), &port}, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return peer{netip.PrefixFrom(a, a.BitLen()), nil}, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return peer{p.Masked(), nil}, nil
	}
	return peer{}, usageError("%s %q: an address, address:port or network in numbers is wanted", flag, text)
}

func (p peer) matches(a netip.Addr, port uint16) bool {
	return (!p.net.IsValid() || p.net.Contains(a)) && (p.port == nil || *p.port == port)
}

// selector reads --service. What is no address may be a name, which only the
// agent knows.
func (c *ipvsCall) selector() (ipvsctl.Selector, error) {
	sel, err := ipvsctl.ParseSelector(c.service)
	if err == nil {
		return sel, nil
	}
	if runs, _ := c.agentRuns(); !runs {
		return sel, usageError("--service: %v (a name is known only where an agent runs)", err)
	}
	d, _, serr := control.NewClient(c.socket).Status(c.ctx)
	if serr != nil {
		return sel, serr
	}
	names := make(map[string]ipvsctl.Selector, len(d.Services))
	for _, s := range d.Services {
		names[s.Name] = documentSelector(&s)
	}
	return namedSelector(c.service, names)
}

// namedSelector chooses by name, or as ipvsctl.ParseSelector does.
func namedSelector(text string, names map[string]ipvsctl.Selector) (ipvsctl.Selector, error) {
	if sel, ok := names[text]; ok {
		return sel, nil
	}
	sel, err := ipvsctl.ParseSelector(text)
	if err != nil {
		return sel, usageError("there is no service called %q in the configuration, and %v", text, err)
	}
	return sel, nil
}

func documentSelector(s *control.Service) ipvsctl.Selector {
	var sel ipvsctl.Selector
	if s.FWMark != nil {
		sel.FWMark, sel.Family = *s.FWMark, 4
		if s.Family == "ipv6" {
			sel.Family = 6
		}
		return sel
	}
	if s.Address == nil || s.Port == nil || s.Protocol == nil {
		return sel
	}
	port := uint16(*s.Port)
	sel.Port = &port
	sel.Addr, _ = netip.ParseAddr(*s.Address)
	for _, p := range []ipvsctl.Protocol{ipvsctl.TCP, ipvsctl.UDP, ipvsctl.SCTP} {
		if p.String() == *s.Protocol {
			sel.Protocol = p
		}
	}
	return sel
}

// agentName is held by the agent of a network namespace.
const agentName = "@lvs-ha/agent"

// agentRuns says whether an agent holds this network namespace (lockNamespace).
// Who connected to its name would stay in its queue, so the list of the
// namespace's sockets is read (unix(7), /proc/net/unix).
func (m ipvsMachine) agentRuns() (bool, error) {
	f, err := os.Open(m.unixSockets)
	if err != nil {
		return false, fmt.Errorf("cannot see whether an agent runs: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if strings.HasSuffix(s.Text(), " "+agentName) {
			return true, nil
		}
	}
	if err := s.Err(); err != nil {
		return false, fmt.Errorf("cannot see whether an agent runs: %w", err)
	}
	return false, nil
}
