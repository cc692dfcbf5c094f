package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// relistPause is the least time between two full lists, so that a storm of
// events on a big machine does not make us list all the time.
const relistPause = 10 * time.Millisecond

// listAgain is the pause after a list that failed.
const listAgain = 200 * time.Millisecond

// Monitor watches links and addresses. Events only say that something changed;
// what it is now is always read as a whole, so that lost events do no harm.
type Monitor struct {
	k    *netlinkKernel
	list func() (view map[string]Interface, whole bool, err error)
	log  *slog.Logger

	mu      sync.Mutex
	view    map[string]Interface
	watches map[*watch]struct{}
	stale   bool // something changed since the view was listed, or while it was
	listing bool
}

type watch struct {
	name string
	f    func(Interface)
}

// NewMonitor opens what it needs in the present network namespace; it starts
// nothing. Close it after Run has ended.
func NewMonitor(log *slog.Logger) (*Monitor, error) {
	k, err := openNetlink()
	if err != nil {
		return nil, err
	}
	m := &Monitor{k: k, list: k.interfaces, log: log, view: map[string]Interface{}, watches: map[*watch]struct{}{}}
	_, err = m.relist()
	return m, err
}

// Close gives the sockets back.
func (m *Monitor) Close() { m.k.close() }

// Watch calls f with the present state of the named interface before it
// returns, and at each change until the returned function was called. Calls
// come one at a time; f must not block and must not call the monitor.
func (m *Monitor) Watch(name string, f func(Interface)) (cancel func()) {
	w := &watch{name, f}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watches[w] = struct{}{}
	f(m.lookup(name))
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watches, w)
	}
}

// Interface is the state of an interface as last listed.
func (m *Monitor) Interface(name string) Interface {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lookup(name)
}

func (m *Monitor) lookup(name string) Interface {
	if in, ok := m.view[name]; ok {
		return in
	}
	return Interface{Name: name}
}

// Run watches until ctx ends. A subscription that breaks is opened again.
func (m *Monitor) Run(ctx context.Context) error {
	backoff := 10 * time.Millisecond
	for ctx.Err() == nil {
		err := m.follow(ctx, func() { backoff = 10 * time.Millisecond })
		if ctx.Err() != nil {
			break
		}
		m.log.Warn("watching links and addresses was interrupted, starting again", "event", "monitor_restart", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, 5*time.Second)
	}
	return nil
}

// follow subscribes, lists, and lists again whenever an event came.
func (m *Monitor) follow(ctx context.Context, healthy func()) error {
	const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1)
	c, err := subscribe(groups, 1<<20) // less of a buffer is only more lists
	if err != nil {
		return fmt.Errorf("cannot subscribe to link and address events: %w", err)
	}
	defer c.close()
	unhook := context.AfterFunc(ctx, c.close)
	defer unhook()

	events := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	relistCtx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() {
		said := ""
		for {
			pause := relistPause
			whole, err := m.relist()
			switch {
			case err == nil:
				said = ""
			case said != err.Error():
				said = err.Error()
				m.log.Warn("cannot list links and addresses, trying again", "event", "list_failed", "err", err)
			}
			if err != nil {
				pause = listAgain
			}
			select {
			case <-relistCtx.Done():
				return
			case <-time.After(pause):
			}
			if !whole { // the event that was missed does not come again
				continue
			}
			select {
			case <-relistCtx.Done():
				return
			case <-events:
			}
		}
	})
	for {
		news, err := c.receive()
		if err != nil {
			return err // ENOBUFS: events were lost; the list at the next subscription has it all
		}
		healthy()
		if !m.changed(news) {
			continue
		}
		select {
		case events <- struct{}{}:
		default:
		}
	}
}

// changed tells whether events say more than the view has. Every renewal of a
// lifetime is an event, and a master's addresses are renewed all the time.
func (m *Monitor) changed(news []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	// While a list is under way the view is not yet what an event is about:
	// the address may have been away in between.
	known := !m.stale && !m.listing
	eachMessage(news, func(typ uint16, _ uint32, data []byte) {
		known = known && typ == unix.RTM_NEWADDR && m.seen(data)
	})
	m.stale = m.stale || !known
	return !known
}

// seen tells whether an address message is about one as it is in the view.
func (m *Monitor) seen(data []byte) bool {
	index, a, ok := parseAddress(data)
	if !ok {
		return false
	}
	for _, in := range m.view {
		if in.Index == index {
			old, there := find(in.Addresses, a.Prefix)
			old.Lifetime = 0
			return there && old == a
		}
	}
	return false
}

// relist reads all and tells those whose interface changed. It is to be called
// again if the list was not whole.
func (m *Monitor) relist() (whole bool, err error) {
	m.mu.Lock()
	m.stale, m.listing = false, true
	m.mu.Unlock()
	view, whole, err := m.list()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listing = false
	if err != nil {
		m.stale = true
		return false, err
	}
	before := m.view
	if !whole {
		m.stale = true
		for w := range m.watches {
			complete(view, before, w.name, m.k.Lookup)
		}
	}
	m.view = view
	for w := range m.watches {
		old, now := before[w.name], m.lookup(w.name)
		if old.Name == "" {
			old.Name = w.name
		}
		if !sameInterface(old, now) {
			w.f(now)
		}
	}
	return whole, nil
}

// complete adds to a disturbed list what it may lack of an interface that
// somebody watches. A link is asked for by name; addresses that were there
// before are taken to be there until a whole list lacks them: to let go of
// something for a list like that would be worse.
func complete(view, before map[string]Interface, name string, lookup func(string) (Interface, error)) {
	old, was := before[name]
	in, there := view[name]
	if !there {
		got, err := lookup(name)
		switch {
		case errors.Is(err, ErrAbsent):
			return
		case err != nil && !was:
			return
		case err != nil:
			got = old
		}
		in = got
	}
	if was && old.Index == in.Index {
		all := slices.Clone(old.Addresses)
		for _, a := range in.Addresses {
			if i := slices.IndexFunc(all, func(x InterfaceAddress) bool { return x.Prefix == a.Prefix }); i >= 0 {
				all[i] = a
			} else {
				all = append(all, a)
			}
		}
		in.Addresses = all
	}
	view[name] = in
}

// sameInterface ignores how much of a lifetime is left.
func sameInterface(a, b Interface) bool {
	return a.Name == b.Name && a.Index == b.Index && a.Up == b.Up && a.MTU == b.MTU &&
		slices.Equal(a.HardwareAddr, b.HardwareAddr) &&
		slices.EqualFunc(a.Addresses, b.Addresses, func(x, y InterfaceAddress) bool {
			x.Lifetime, y.Lifetime = 0, 0
			return x == y
		})
}
