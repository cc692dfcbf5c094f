package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// HoldTableName of the nftables table that is there while something is held.
const HoldTableName = "lvs_ha_hold"

// Held is the virtual service whose new connections are held: by address, or
// by mark and family.
type Held struct {
	Protocol uint8 // TCP 6, UDP 17, SCTP 132
	Virtual  netip.AddrPort
	Mark     uint32 // 0 for none
	V6       bool
}

// A Holder keeps new connections waiting for the moments in which the kernel
// could only refuse them. Arriving packets that begin a connection (for
// protocols other than TCP: all) stand in a netfilter queue, and go on from
// there when it is over: the client notices nothing but some milliseconds.
//
// If this process dies meanwhile the kernel drops what stands in the queue,
// which senders repeat, and the rule, which is left behind, lets everything
// pass (its flag "bypass"); the next Holder removes it.
type Holder struct {
	log *slog.Logger

	mu   sync.Mutex
	told bool // that holding does not work
}

// NewHolder removes what an earlier one has left behind.
func NewHolder(log *slog.Logger) *Holder {
	h := &Holder{log: log}
	if err := sweepHold(); err != nil {
		log.Debug("cannot look for a left table", "event", "hold_sweep", "err", err)
	}
	return h
}

// sweepHold removes our table if it is there.
func sweepHold() error {
	return withNFT(func(c *nftables.Conn) error {
		list, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		for _, x := range list {
			if x.Name == HoldTableName {
				c.DelTable(x)
			}
		}
		return c.Flush()
	})
}

// Hold holds the new connections of a service until release is called, soon.
// Where that cannot be done it says so, once, and release does nothing.
func (h *Holder) Hold(what Held) (release func()) {
	h.mu.Lock()
	end, err := hold(what)
	if err == nil {
		return func() {
			defer h.mu.Unlock()
			if err := end(); err != nil {
				h.log.Warn("new connections were held and the nftables table for that cannot be removed; it lets everything pass", "event", "hold_failed", "table", HoldTableName, "err", err)
			}
		}
	}
	defer h.mu.Unlock()
	if !h.told {
		h.told = true
		h.log.Warn("new connections may be refused for some milliseconds while the scheduler of their service changes, because they cannot be held", "event", "hold_failed", "err", err)
	}
	return func() {}
}

func hold(what Held) (end func() error, err error) {
	q, err := openQueue()
	if err != nil {
		return nil, err
	}
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		q.close()
		return nil, fmt.Errorf("cannot open nftables: %w", err)
	}
	nt := &nftables.Table{Name: HoldTableName, Family: nftables.TableFamilyINet}
	// A table that is left there is replaced.
	c.AddTable(nt)
	c.DelTable(nt)
	c.AddTable(nt)
	accept := nftables.ChainPolicyAccept
	// Before IPVS, which comes in that hook just before the source NAT.
	chain := c.AddChain(&nftables.Chain{Table: nt, Name: "input", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &accept})
	for _, exprs := range what.compile(q.number) {
		c.AddRule(&nftables.Rule{Table: nt, Chain: chain, Exprs: exprs})
	}
	if err := c.Flush(); err != nil {
		q.close()
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w; is there the module nft_queue?", err)
		}
		return nil, errors.Join(fmt.Errorf("cannot write nftables table inet %s: %w", HoldTableName, err), c.CloseLasting())
	}
	return func() error {
		q.pass()
		// The rules go first: with a hook the kernel drops whatever stands in a
		// queue (net/netfilter/core.c, nf_unregister_net_hook).
		c.FlushChain(chain)
		err := c.Flush()
		// What met the rule on another processor may just be arriving.
		time.Sleep(time.Millisecond)
		q.pass()
		c.DelTable(nt)
		err = errors.Join(err, c.Flush(), c.CloseLasting())
		q.close()
		return err
	}, nil
}

// compile makes the rules:
//
//	ip daddr 192.0.2.10 tcp dport 80 tcp flags & (fin|syn|rst|ack) == syn queue flags bypass to 19542
//	meta mark 0x7 meta l4proto != tcp queue flags bypass to 19542
func (w *Held) compile(queue uint16) (rules [][]expr.Any) {
	v6 := w.V6 || w.Virtual.Addr().Is6()
	var match []expr.Any
	if w.Mark != 0 {
		match = append(match, &expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.NativeEndian.PutUint32(w.Mark)})
	}
	match = append(match, family(v6)...)
	if w.Mark == 0 {
		match = append(match, daddr(v6), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: w.Virtual.Addr().AsSlice()})
	}
	proto := func(op expr.CmpOp, p uint8) []expr.Any {
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, &expr.Cmp{Op: op, Register: reg1, Data: []byte{p}}}
	}
	port := func(e []expr.Any) []expr.Any {
		if w.Mark == 0 && w.Virtual.Port() != 0 {
			e = append(e, dport(reg1), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.BigEndian.PutUint16(w.Virtual.Port())})
		}
		return e
	}
	add := func(parts ...[]expr.Any) {
		var e []expr.Any
		for _, p := range append([][]expr.Any{match}, parts...) {
			e = append(e, p...)
		}
		rules = append(rules, append(e, &expr.Queue{Num: queue, Flag: expr.QueueFlagBypass}))
	}
	if w.Mark != 0 || w.Protocol == unix.IPPROTO_TCP {
		// The octet of the flags: RFC 9293 3.1. FIN 1, SYN 2, RST 4, ACK 16.
		add(proto(expr.CmpOpEq, unix.IPPROTO_TCP), port(nil), []expr.Any{
			&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{0x02}},
		})
	}
	switch {
	case w.Mark != 0:
		add(proto(expr.CmpOpNeq, unix.IPPROTO_TCP))
	case w.Protocol != unix.IPPROTO_TCP:
		add(proto(expr.CmpOpEq, w.Protocol), port(nil))
	}
	return rules
}
