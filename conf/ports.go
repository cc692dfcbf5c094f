package conf

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvs-ha/ipvsctl"
)

// The firewall marks of services with ranges of ports. The kernel can know
// such a service by a mark only; our nftables table puts it on the packets. A
// mark follows from protocol, address and ports: it is the same on all
// directors, which the sync daemon needs, and stays when other services change.
const (
	FirstPortsMark = 0x4c560000
	LastPortsMark  = 0x4c56ffff
)

// Ports of a service that has ranges of ports in place of one; its kernel key
// is a mark.
type Ports struct {
	Protocol ipvsctl.Protocol
	Addr     netip.Addr
	Ranges   []PortRange // sorted, not empty, apart from each other
}

// PortRange is First..Last, both in it.
type PortRange struct{ First, Last uint16 }

func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// String is as in the file.
func (p *Ports) String() string {
	parts := make([]string, len(p.Ranges))
	for i, r := range p.Ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, ", ")
}

// Virtual is where clients find the service: its kernel key, or with ranges of
// ports the address and protocol with port 0.
func (s *Service) Virtual() ipvsctl.ServiceKey {
	if s.Ports == nil {
		return s.Service.Key
	}
	return ipvsctl.ServiceKey{Protocol: s.Ports.Protocol, Addr: s.Ports.Addr, Family: s.Service.Key.Family}
}

// ports reads ranges as "5000-5010, 6000"; nil and a finding if they are bad.
func (b *builder) ports(own view) []PortRange {
	const cure = `write ports and ranges, as "5000-5010" or "80, 443, 8000-8099"`
	text := own.str("ports", "")
	if !isText(own, "ports") {
		return nil
	}
	var out []PortRange
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
		last, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
		if err1 != nil || err2 != nil || first == 0 || first > last {
			own.bad("ports", fmt.Sprintf("has %s in it, which is no range within 1..65535", quote(strings.TrimSpace(part))), cure)
			return nil
		}
		out = append(out, PortRange{uint16(first), uint16(last)})
	}
	slices.SortFunc(out, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	for i := range out[1:] {
		if out[i].Last >= out[i+1].First {
			own.bad("ports", fmt.Sprintf("has %s and %s in it, which overlap", out[i], out[i+1]), "make one range of them")
			return nil
		}
	}
	return out
}

// portsKey is the key of a service with ranges of ports.
func (b *builder) portsKey(s *Service, own, v view) bool {
	if own.has("port") {
		own.bad("port", "cannot stand beside ports", "remove one of them")
	}
	p := &Ports{Protocol: protocols[v.choice("protocol", "tcp", "tcp", "udp", "sctp")], Ranges: b.ports(own)}
	if !own.has("address") {
		own.missing("address", "write the virtual address that has these ports")
		return false
	}
	var ok bool
	if p.Addr, ok = b.plainAddr(own, "address"); !ok {
		return false
	}
	s.Service.Key.Family = uint8(familyOf(p.Addr))
	if p.Ranges == nil {
		return false
	}
	s.Ports = p
	s.Service.Key.FWMark = b.portsMark(p)
	return true
}

// portsMark is a mark that no other service has.
func (b *builder) portsMark(p *Ports) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d %s %s", p.Protocol, p.Addr, p)
	sum := h.Sum32()
	for mark := FirstPortsMark + (sum^sum>>16)&0xffff; ; {
		taken := slices.ContainsFunc(b.out.Services, func(s Service) bool { return s.Ports != nil && s.Service.Key.FWMark == mark })
		if !taken || len(b.out.Services) > LastPortsMark-FirstPortsMark {
			return mark
		}
		if mark++; mark > LastPortsMark {
			mark = FirstPortsMark
		}
	}
}

// reservedMark refuses a fwmark that one of ours could be.
func (b *builder) reservedMark(own view, mark uint32) {
	if mark >= FirstPortsMark && mark <= LastPortsMark {
		own.bad("fwmark", fmt.Sprintf("is among %d..%d, which are for services with ports", FirstPortsMark, LastPortsMark), "choose another mark")
	}
}

// portsMeet refuses ranges of ports in which another service is: to the kernel
// a mark counts before address and port.
func (b *builder) portsMeet() {
	all := b.out.Services
	for i := range all {
		if all[i].Ports == nil {
			continue
		}
		for j := range all {
			// Of two with ranges the later one is told.
			if j == i || all[j].Ports != nil && j > i || all[i].Virtual().Addr != all[j].Virtual().Addr || all[i].Virtual().Protocol != all[j].Virtual().Protocol {
				continue
			}
			if r, meet := overlap(all[i].Ports.Ranges, all[j].portRanges()); meet {
				b.add(finding{at: b.services[i].at.child("ports"), what: fmt.Sprintf("has port %s of service %s (%%PLACE%%) in it", r, quote(all[j].Name)),
					other: b.services[j].at, cure: "give each port to one service"})
			}
		}
	}
}

// overlap is the first of b that meets one of a.
func overlap(a, b []PortRange) (PortRange, bool) {
	for _, x := range a {
		for _, y := range b {
			if x.First <= y.Last && y.First <= x.Last {
				return y, true
			}
		}
	}
	return PortRange{}, false
}

// portRanges of a service with an address. (Every port is what no more precise
// service has: none.)
func (s *Service) portRanges() []PortRange {
	switch k := s.Service.Key; {
	case s.Ports != nil:
		return s.Ports.Ranges
	case k.Addr.IsValid() && k.Port != 0:
		return []PortRange{{k.Port, k.Port}}
	}
	return nil
}

// snat reads whether servers see the director in place of the client. The
// servers are known already.
func (b *builder) snat(s *Service, own, v view) {
	if s.SNAT = v.boolean("snat", false); !s.SNAT {
		return
	}
	nat := s.Sorry != nil && s.Sorry.Forward == ipvsctl.NAT
	for i := range s.Servers {
		nat = nat || s.Servers[i].Kernel.Forward == ipvsctl.NAT
	}
	switch {
	case s.Service.Flags&ipvsctl.FlagOnePacket != 0:
		v.bad("snat", "cannot work with one_packet: an answer belongs to no connection then", "remove one of them")
	case !nat && len(s.Servers) > 0 && own.has("snat"):
		own.bad("snat", "has no effect: no server has forward = \"nat\"", `add forward = "nat", or remove it`)
	}
}
