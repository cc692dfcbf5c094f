package main

import (
	"log/slog"
	"sync/atomic"

	"lvs-ha/internal/vip"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
	"lvs-ha/vrrp/speaker"
)

// vipAddresses gives the speaker links and addresses, which it knows only as an
// interface.
type vipAddresses struct {
	monitor *vip.Monitor
	log     *slog.Logger
}

func (a vipAddresses) Watch(name string, f func(speaker.Interface)) (cancel func()) {
	return a.monitor.Watch(name, func(i vip.Interface) {
		out := speaker.Interface{Name: i.Name, Index: i.Index, Up: i.Up, Addresses: make([]speaker.InterfaceAddress, len(i.Addresses))}
		for n, x := range i.Addresses {
			out.Addresses[n] = speaker.InterfaceAddress{Prefix: x.Prefix, Secondary: x.Secondary, Tentative: x.Tentative}
		}
		f(out)
	})
}

func (a vipAddresses) Holder(in vrrp.Instance, report func(speaker.Report)) speaker.Holder {
	h := a.monitor.NewHolder(holderConfig(in), a.log.With("vrrp_instance", in.Name), func(r vip.Report) {
		report(speaker.Report{Phase: speaker.Phase(r.Phase), Order: r.Order, Err: r.Err, Restored: r.Restored, Foreign: r.Foreign, Age: r.Age})
	})
	out := &holder{Holder: h}
	out.advertised.Store(int64(len(in.Addresses)))
	return out
}

// holder adds what the speaker wants in its own types.
type holder struct {
	*vip.Holder
	advertised atomic.Int64 // of the addresses, the first ones
}

func (h *holder) Reconfigure(in vrrp.Instance) {
	h.advertised.Store(int64(len(in.Addresses)))
	h.Holder.Reconfigure(holderConfig(in))
}

func (h *holder) Present() []link.AddressStatus {
	list := h.Status()
	advertised := int(h.advertised.Load())
	out := make([]link.AddressStatus, len(list))
	for i, a := range list {
		out[i] = link.AddressStatus{Address: a.Prefix, Interface: a.Interface, Present: a.Present, Excluded: i >= advertised, Fragile: a.Fragile}
	}
	return out
}

func (h *holder) Announced() (arp, na, errors uint64) {
	c := h.Counters()
	return c.ARP, c.NA, c.Errors
}

func holderConfig(in vrrp.Instance) vip.Config {
	c := vip.Config{
		Interface: in.Interface, Lifetime: in.Lifetime,
		Announce: vip.Plan{
			Count: in.Announce.Count, Interval: in.Announce.Interval, RepeatAfter: in.Announce.RepeatAfter,
			Refresh: in.Announce.Refresh, Opcode: vip.Opcode(in.Announce.Opcode),
		},
	}
	for _, list := range [][]vrrp.Address{in.Addresses, in.Excluded} {
		for _, a := range list {
			c.Addresses = append(c.Addresses, vip.Address{Prefix: a.Prefix, Interface: a.Interface, Label: a.Label, Scope: a.Scope})
		}
	}
	return c
}
