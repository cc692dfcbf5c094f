package host

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// TableName of our nftables table, in the family inet.
const TableName = "lvs_ha"

// table is an nftables table in the shape that is both written and read back.
type table struct {
	sets   []set
	chains []chain
}

// set of servers. A key is the address, and with ports the port after it,
// padded to four octets.
type set struct {
	name      string
	v6, ports bool
	keys      []string // octets, sorted
}

type chain struct {
	name     string
	kind     nftables.ChainType
	hook     nftables.ChainHook
	priority nftables.ChainPriority
	rules    []rule
}

type rule struct {
	comment string
	exprs   []expr.Any
}

// compile puts rules into the kernel's terms:
//
//	table inet lvs_ha {
//	  set servers1 { type ipv4_addr . inet_service; elements = { 10.0.1.21 . 8080, … } }
//	  chain prerouting {
//	    type filter hook prerouting priority mangle;
//	    ip daddr 192.0.2.10 tcp dport 5000-5010 meta mark set 0x4c560001
//	  }
//	  chain postrouting {
//	    type nat hook postrouting priority srcnat;
//	    meta l4proto tcp ip daddr . tcp dport @servers1 masquerade
//	  }
//	}
//
// A set costs the same however many servers are in it.
func (r *Rules) compile() table {
	var t table
	if len(r.Marks) > 0 {
		c := chain{name: "prerouting", kind: nftables.ChainTypeFilter, hook: *nftables.ChainHookPrerouting, priority: *nftables.ChainPriorityMangle}
		for i := range r.Marks {
			c.rules = append(c.rules, r.Marks[i].compile())
		}
		t.chains = append(t.chains, c)
	}
	if len(r.Masquerades) == 0 {
		return t
	}
	c := chain{name: "postrouting", kind: nftables.ChainTypeNAT, hook: *nftables.ChainHookPostrouting, priority: *nftables.ChainPriorityNATSource}
	for i := range r.Masquerades {
		m := &r.Masquerades[i]
		for _, g := range m.groups() {
			s := set{name: fmt.Sprintf("servers%d", len(t.sets)+1), v6: g.v6, ports: g.ports}
			for _, a := range g.servers {
				key := a.Addr().AsSlice()
				if g.ports {
					key = append(key, byte(a.Port()>>8), byte(a.Port()), 0, 0)
				}
				s.keys = append(s.keys, string(key))
			}
			slices.Sort(s.keys)
			t.sets = append(t.sets, s)
			c.rules = append(c.rules, m.compile(g, s.name))
		}
	}
	if len(c.rules) > 0 {
		t.chains = append(t.chains, c)
	}
	return t
}

// Register 1 has 16 octets, of which 9 (NFT_REG32_01) is the second quarter;
// register 2 follows 1.
const (
	reg1         = unix.NFT_REG_1
	reg2         = unix.NFT_REG_2
	reg1Quarter2 = unix.NFT_REG32_01
)

func family(v6 bool) []expr.Any {
	f := byte(unix.NFPROTO_IPV4)
	if v6 {
		f = unix.NFPROTO_IPV6
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{f}},
	}
}

func protocol(p uint8) []expr.Any {
	if p == 0 {
		return nil
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{p}},
	}
}

// daddr loads the destination address into register 1: RFC 791 3.1, RFC 8200 3.
func daddr(v6 bool) expr.Any {
	if v6 {
		return &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16}
	}
	return &expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
}

// dport loads the destination port; TCP, UDP and SCTP have it at the same place.
func dport(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

func (m *Mark) compile() rule {
	e := append(family(m.Addr.Is6()), daddr(m.Addr.Is6()), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: m.Addr.AsSlice()})
	e = append(e, protocol(m.Protocol)...)
	e = append(e, dport(reg1))
	if m.First == m.Last {
		e = append(e, &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.BigEndian.PutUint16(m.First)})
	} else {
		e = append(e,
			&expr.Cmp{Op: expr.CmpOpGte, Register: reg1, Data: binaryutil.BigEndian.PutUint16(m.First)},
			&expr.Cmp{Op: expr.CmpOpLte, Register: reg1, Data: binaryutil.BigEndian.PutUint16(m.Last)})
	}
	return rule{m.Service, append(e,
		&expr.Immediate{Register: reg1, Data: binaryutil.NativeEndian.PutUint32(m.Mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1, SourceRegister: true})}
}

func (m *Masquerade) compile(g group, servers string) rule {
	var e []expr.Any
	if m.Mark != 0 {
		e = append(e, &expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.NativeEndian.PutUint32(m.Mark)})
	}
	// In the order in which nft would put them.
	if g.ports {
		e = append(append(e, family(g.v6)...), protocol(m.Protocol)...)
	} else {
		e = append(append(e, protocol(m.Protocol)...), family(g.v6)...)
	}
	e = append(e, daddr(g.v6))
	if g.ports {
		if g.v6 {
			e = append(e, dport(reg2))
		} else {
			e = append(e, dport(reg1Quarter2))
		}
	}
	return rule{m.Service, append(e, &expr.Lookup{SourceRegister: reg1, SetName: servers}, &expr.Masq{})}
}

// text is the table in a form that is equal for equal tables.
func (t *table) text() string {
	var b strings.Builder
	sets := slices.Clone(t.sets)
	slices.SortFunc(sets, func(a, b set) int { return strings.Compare(a.name, b.name) })
	for _, s := range sets {
		fmt.Fprintf(&b, "set %s %v %v", s.name, s.v6, s.ports)
		for _, k := range s.keys {
			b.WriteString(" " + hex.EncodeToString([]byte(k)))
		}
		b.WriteString("\n")
	}
	chains := slices.Clone(t.chains)
	slices.SortFunc(chains, func(a, b chain) int { return strings.Compare(a.name, b.name) })
	for _, c := range chains {
		fmt.Fprintf(&b, "chain %s %s %d %d\n", c.name, c.kind, c.hook, c.priority)
		for _, r := range c.rules {
			fmt.Fprintf(&b, " rule %q", r.comment)
			for _, e := range r.exprs {
				// Every expression is a struct of plain values behind a pointer.
				fmt.Fprintf(&b, " %T%+v", e, e)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
