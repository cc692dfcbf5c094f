package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

func BenchmarkReceive(b *testing.B) {
	c := testConfig()
	in := Advertisement{Version: V3, VRID: 7, Priority: 200, Interval: time.Second, Addresses: c.Addresses}
	h := headerOf(&c, addrC, GroupIPv4)
	packet := in.Append(nil, ChecksumPseudoHeader, h.Src, h.Dst)
	m := NewMachine(c)
	m.Step(start, Event{Kind: EventPosture, Ready: true})
	m.Step(start, Event{Kind: EventInterface, Up: true, Source: addrB})
	a := Advertisement{Addresses: make([]netip.Addr, 0, 4)}
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		a.Parse(packet, h)
		if r, _ := c.Validate(&a, h, addrB); r == ReasonNone {
			m.Step(now, Event{Kind: EventAdvertisement, Advertisement: &a, Source: h.Src})
		}
	}
}

func BenchmarkTick(b *testing.B) {
	c := testConfig()
	m := NewMachine(c)
	m.Step(start, Event{Kind: EventPosture, Ready: true})
	m.Step(start, Event{Kind: EventInterface, Up: true, Source: addrB})
	out := Advertisement{Version: V3, VRID: 7, Interval: time.Second, Addresses: c.Addresses}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		now, _ := m.Deadline()
		for _, action := range m.Step(now, Event{Kind: EventTimer}) {
			if action.Kind == ActionSend {
				out.Priority = action.Priority
				buf = out.Append(buf[:0], c.Checksum, addrB, GroupIPv4)
			}
		}
	}
}
