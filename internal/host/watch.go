package host

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	mnl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// relistAfter the latest event the routes are listed again: later than the
	// events themselves, so that a link that goes down is still known to have
	// had its routes. (The kernel removes IPv4 routes of a link without a word.)
	relistAfter = 500 * time.Millisecond
	// maxRoutes: of more, as a router with the whole Internet has, only those
	// to own networks and the default ones count.
	maxRoutes = 1024
)

// Watch tells of every change of links, neighbours and routes until ctx ends. A
// subscription that breaks is opened again, and counts as an [EventLost]. Calls
// of f come one at a time; f must not block for long.
func Watch(ctx context.Context, log *slog.Logger, f func(Event)) {
	const first = 10 * time.Millisecond
	backoff, again := first, false
	for ctx.Err() == nil {
		err := follow(ctx, func() {
			backoff = first
			if again {
				f(Event{Kind: EventLost, Text: "events of links, neighbours and routes were lost", concerns: everything})
			}
			again = true
		}, f)
		if ctx.Err() != nil {
			return
		}
		log.Debug("watching links, neighbours and routes was interrupted, starting again", "event", "watch_restart", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, 5*time.Second)
	}
}

// follow subscribes, lists, tells that it is ready and then what comes.
func follow(ctx context.Context, ready func(), f func(Event)) error {
	c, err := mnl.Dial(unix.NETLINK_ROUTE, &mnl.Config{
		Groups: 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_NEIGH-1) | 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1),
	})
	if err != nil {
		return fmt.Errorf("cannot subscribe to events of links, neighbours and routes: %w", err)
	}
	defer c.Close()
	_ = c.SetReadBuffer(1 << 20) // less only loses more
	unhook := context.AfterFunc(ctx, func() { c.Close() })
	defer unhook()

	l, err := mnl.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	p := newPaths()
	if err := p.list(l); err != nil {
		return err
	}
	ready()
	// A single goroutine lists routes again, some time after the latest change.
	fresh := make(chan routes, 1)
	changed := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	listCtx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { relist(listCtx, l, changed, fresh) })
	for {
		msgs, err := c.Receive()
		if err != nil {
			return err // ENOBUFS: events were lost
		}
		select {
		case p.routes = <-fresh:
		default:
		}
		for _, m := range msgs {
			e := p.take(m)
			if e == nil {
				continue
			}
			if e.Kind != EventNeighbour {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
			f(*e)
		}
	}
}

// relist lists the routes after changes have ended for a while, until ctx ends.
func relist(ctx context.Context, l *mnl.Conn, changed <-chan struct{}, fresh chan routes) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			timer.Reset(relistAfter)
		case <-timer.C:
			rs, err := listRoutes(l)
			if err != nil {
				continue // the next change tries again
			}
			select {
			case <-fresh:
			default:
			}
			fresh <- rs
		}
	}
}

// list learns what there is, without telling.
func (p *paths) list(l *mnl.Conn) (err error) {
	links, err := dump(l, unix.RTM_GETLINK, make([]byte, 16))
	if err != nil {
		return fmt.Errorf("cannot list links: %w", err)
	}
	neighbours, err := dump(l, unix.RTM_GETNEIGH, make([]byte, 12))
	if err != nil {
		return fmt.Errorf("cannot list neighbours: %w", err)
	}
	for _, m := range append(links, neighbours...) {
		p.take(m)
	}
	p.routes, err = listRoutes(l)
	return err
}

func listRoutes(l *mnl.Conn) (routes, error) {
	var all, own routes
	list, err := dump(l, unix.RTM_GETROUTE, make([]byte, 12))
	if err != nil {
		return nil, fmt.Errorf("cannot list routes: %w", err)
	}
	for _, m := range list {
		r, ok := parseRoute(m)
		if !ok {
			continue
		}
		all = append(all, r)
		if m.Data[5] == unix.RTPROT_KERNEL || r.prefix.Bits() == 0 {
			own = append(own, r)
		}
	}
	if len(all) > maxRoutes {
		return own, nil
	}
	return all, nil
}

func dump(l *mnl.Conn, kind mnl.HeaderType, header []byte) ([]mnl.Message, error) {
	return l.Execute(mnl.Message{Header: mnl.Header{Type: kind, Flags: mnl.Request | mnl.Dump}, Data: header})
}

func everything(netip.Addr, route) bool { return true }
