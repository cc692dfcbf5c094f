package host

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// StragglerTableName of our nftables tables for stragglers, in the families ip
// and ip6: inet has no dup.
const StragglerTableName = "lvs_ha_stragglers"

const (
	// strayMark on packets that are taken without their address, and the number
	// of the routing rule and table that deliver what has it.
	strayMark  = 0x4c570000
	strayRoute = 19543

	// strayPriority: after IPVS, which comes in that hook at 98 and 99 (Linux 6.1
	// to 6.12, net/netfilter/ipvs/ip_vs_core.c: NF_IP_PRI_NAT_SRC - 2 and - 1).
	strayPriority = 150
)

// strayPath is where stragglers go, with the neighbour if it is known.
type strayPath struct {
	*Stragglers
	to   hop
	back bool
}

// strayTables are what the kernel is to have; nil for none.
type strayTables struct{ v4, v6 *table }

func (t strayTables) text() string {
	s := ""
	if t.v4 != nil {
		s += "ip\n" + t.v4.text()
	}
	if t.v6 != nil {
		s += "ip6\n" + t.v6.text()
	}
	return s
}

// takes tells whether the table has packets taken without their address.
func (t *table) takes() bool {
	return t != nil && slices.ContainsFunc(t.chains, func(c chain) bool { return c.name == "prerouting" })
}

// compileStrays puts it into the kernel's terms; for IPv4
//
//	table ip lvs_ha_stragglers {
//	  set edge1 { type ipv4_addr . inet_service; elements = { 192.0.2.10 . 80, … } }
//	  chain input {
//	    type filter hook input priority 150;
//	    iiftype ether ether saddr != 00:53:00:00:00:02 meta l4proto tcp tcp flags & syn == 0 ip daddr . tcp dport @edge1 counter dup to 192.0.2.2 device "eth0" drop
//	  }
//	  chain prerouting {
//	    type filter hook prerouting priority mangle + 1;
//	    iiftype ether meta l4proto tcp tcp flags & syn == 0 ip daddr . tcp dport @edge1 counter meta mark set 0x4c570000
//	  }
//	}
//
// The kernel lowers the TTL of what it duplicates. It may meet a rule like this
// one at the other director, which leaves it alone because of where it came
// from: no packet goes to and fro.
func compileStrays(paths []strayPath) strayTables {
	return strayTables{compileFamily(paths, false), compileFamily(paths, true)}
}

func compileFamily(paths []strayPath, v6 bool) *table {
	var t table
	in := chain{name: "input", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookInput, priority: strayPriority}
	pre := chain{name: "prerouting", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookPrerouting, priority: *nftables.ChainPriorityMangle + 1}
	for i := range paths {
		p := &paths[i]
		back := p.back && p.Back.Is6() == v6
		if !back && !p.Take {
			continue
		}
		s := set{name: fmt.Sprintf("services%d", i+1), v6: v6, ports: true}
		var matches [][]expr.Any
		for _, x := range p.Services {
			switch {
			case x.Addr.Is6() != v6:
			case x.First == x.Last:
				s.keys = append(s.keys, string(append(x.Addr.AsSlice(), byte(x.First>>8), byte(x.First), 0, 0)))
			default:
				matches = append(matches, x.match())
			}
		}
		if len(s.keys) > 0 {
			slices.Sort(s.keys)
			s.keys = slices.Compact(s.keys)
			t.sets = append(t.sets, s)
			matches = append(matches, s.match())
		}
		for _, m := range matches {
			if back {
				in.rules = append(in.rules, rule{p.Instance, slices.Concat(middle(&p.to.mac), m, p.send())})
			}
			if p.Take {
				pre.rules = append(pre.rules, rule{p.Instance, slices.Concat(middle(nil), m, setMark(strayMark))})
			}
		}
	}
	for _, c := range []chain{in, pre} {
		if len(c.rules) > 0 {
			t.chains = append(t.chains, c)
		}
	}
	if len(t.chains) == 0 {
		return nil
	}
	return &t
}

// middle matches packets that come over Ethernet, but not from one neighbour,
// and do not begin a TCP connection. The loopback interface is no Ethernet.
func middle(but *[6]byte) []expr.Any {
	e := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)},
	}
	if but != nil {
		e = append(e, &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: but[:]})
	}
	// The octet of the flags: RFC 9293 3.1. SYN 2.
	return append(append(e, protocol(unix.IPPROTO_TCP)...),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{0x02}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{0}})
}

func (s *set) match() []expr.Any {
	port := uint32(reg1Quarter2)
	if s.v6 {
		port = reg2
	}
	return []expr.Any{daddr(s.v6), dport(port), &expr.Lookup{SourceRegister: reg1, SetName: s.name}}
}

func (p *Ports) match() []expr.Any {
	e := []expr.Any{daddr(p.Addr.Is6()), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: p.Addr.AsSlice()}}
	if p.First == 0 && p.Last == 65535 {
		return e
	}
	return append(e, dport(reg1),
		&expr.Cmp{Op: expr.CmpOpGte, Register: reg1, Data: binaryutil.BigEndian.PutUint16(p.First)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: reg1, Data: binaryutil.BigEndian.PutUint16(p.Last)})
}

// send has the packet leave as it is, but for its TTL, and none stay here.
func (p *strayPath) send() []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: reg1, Data: p.Back.AsSlice()},
		&expr.Immediate{Register: reg2, Data: binaryutil.NativeEndian.PutUint32(uint32(p.to.link))},
		&expr.Dup{RegAddr: reg1, RegDev: reg2, IsRegDevSet: true},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

func setMark(m uint32) []expr.Any {
	return []expr.Any{
		&expr.Counter{},
		&expr.Immediate{Register: reg1, Data: binaryutil.NativeEndian.PutUint32(m)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1, SourceRegister: true},
	}
}
