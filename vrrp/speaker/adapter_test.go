package speaker_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"lvs-ha/internal/vip"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
	"lvs-ha/vrrp/speaker"
)

// addresses wires the speaker to package vip, as the program does.
type addresses struct {
	m   *vip.Monitor
	log *slog.Logger
}

func (a addresses) Watch(name string, f func(speaker.Interface)) func() {
	return a.m.Watch(name, func(in vip.Interface) {
		out := speaker.Interface{Name: in.Name, Index: in.Index, Up: in.Up}
		for _, x := range in.Addresses {
			out.Addresses = append(out.Addresses, speaker.InterfaceAddress{
				Prefix: x.Prefix, Secondary: x.Secondary, Tentative: x.Tentative,
			})
		}
		f(out)
	})
}

func (a addresses) Holder(in vrrp.Instance, report func(speaker.Report)) speaker.Holder {
	h := a.m.NewHolder(holderConfig(in), a.log.With("instance", in.Name), func(r vip.Report) {
		report(speaker.Report{
			Phase: phases[r.Phase], Order: r.Order, Err: r.Err, Restored: r.Restored, Foreign: r.Foreign, Age: r.Age,
		})
	})
	return holder{h, len(in.Addresses)}
}

var phases = map[vip.Phase]speaker.Phase{
	vip.Dropped: speaker.Dropped, vip.Waiting: speaker.Waiting, vip.Held: speaker.Held, vip.Dropping: speaker.Dropping,
}

var opcodes = map[vrrp.ARPOpcode]vip.Opcode{
	vrrp.ARPRequest: vip.Request, vrrp.ARPReply: vip.Reply, vrrp.ARPBoth: vip.Both,
}

func holderConfig(in vrrp.Instance) vip.Config {
	c := vip.Config{
		Interface: in.Interface, Lifetime: in.Lifetime,
		Announce: vip.Plan{
			Count: in.Announce.Count, Interval: in.Announce.Interval, RepeatAfter: in.Announce.RepeatAfter,
			Refresh: in.Announce.Refresh, Opcode: opcodes[in.Announce.Opcode],
		},
	}
	for _, list := range [][]vrrp.Address{in.Addresses, in.Excluded} {
		for _, x := range list {
			c.Addresses = append(c.Addresses, vip.Address{Prefix: x.Prefix, Interface: x.Interface, Label: x.Label, Scope: x.Scope})
		}
	}
	return c
}

type holder struct {
	h          *vip.Holder
	advertised int // the first ones; the others are excluded
}

func (h holder) Run(ctx context.Context) error { return h.h.Run(ctx) }
func (h holder) Hold() uint64                  { return h.h.Hold() }
func (h holder) Drop() uint64                  { return h.h.Drop() }
func (h holder) Announce(full bool)            { h.h.Announce(full) }
func (h holder) Quiet()                        { h.h.Quiet() }
func (h holder) Reconfigure(in vrrp.Instance)  { h.h.Reconfigure(holderConfig(in)) }

func (h holder) OnClaim(f func(netip.Addr, string, net.HardwareAddr)) { h.h.OnClaim(f) }

func (h holder) Present() []link.AddressStatus {
	var out []link.AddressStatus
	for i, s := range h.h.Status() {
		out = append(out, link.AddressStatus{Address: s.Prefix, Interface: s.Interface, Present: s.Present, Excluded: i >= h.advertised})
	}
	return out
}

func (h holder) Announced() (arp, na, errors uint64) {
	c := h.h.Counters()
	return c.ARP, c.NA, c.Errors
}
