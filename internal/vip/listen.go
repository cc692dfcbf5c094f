package vip

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// listeners hear claims of others while addresses are held. They belong to the
// worker.
type listeners struct {
	cancel func()
	wg     sync.WaitGroup
	list   []heard // that they listen for
}

// follow starts, renews or ends the listeners, so that they fit the addresses.
func (l *listeners) follow(h *Holder, held []heard) {
	if h.claim == nil || slices.Equal(l.list, held) {
		return
	}
	l.stop()
	if len(held) == 0 {
		return
	}
	l.list = slices.Clone(held)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	addrs := map[string][]netip.Addr{}
	for _, k := range held {
		addrs[k.iface] = append(addrs[k.iface], k.prefix.Addr())
	}
	for iface, list := range addrs {
		c := NewClaims(iface, list, func(c Claim) { h.claim(c.Address, c.Interface, c.HardwareAddr) })
		l.wg.Go(func() { c.keep(ctx) })
	}
}

func (l *listeners) stop() {
	if l.cancel != nil {
		l.cancel()
		l.wg.Wait()
	}
	l.cancel, l.list = nil, nil
}
