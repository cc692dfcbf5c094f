package speaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// member is an instance as Configure knows it.
type member struct {
	in      *instance
	spec    vrrp.Instance // as last configured; the instance's own is the loop's
	cancel  func()        // ends its goroutines
	leaving bool          // told to release; ends by itself
	watches []func()      // of tracked interfaces
	ended   chan struct{} // closed when it has
}

// sameIdentity tells whether b can go on where a is: what is heard on the wire
// under another identity is another instance.
func sameIdentity(a, b *vrrp.Instance) bool {
	return a.Interface == b.Interface && a.Config.Family == b.Config.Family && a.Config.VRID == b.Config.VRID &&
		a.Config.Version == b.Config.Version && a.Config.Mode == b.Config.Mode
}

func keyOf(in *vrrp.Instance) portKey { return portKey{in.Interface, in.Config.Family} }

// check finds everything that is wrong with a set of instances.
func check(instances []vrrp.Instance) error {
	type wireKey struct {
		portKey
		vrid uint8
	}
	var errs []error
	names, wires := map[string]bool{}, map[wireKey]string{}
	for i := range instances {
		in := &instances[i]
		fail := func(err error) { errs = append(errs, fmt.Errorf("vrrp instance %q: %w", in.Name, err)) }
		if in.Name == "" || in.Interface == "" {
			fail(errors.New("has no name or no interface"))
			continue
		}
		if names[in.Name] {
			fail(errors.New("appears twice"))
		}
		names[in.Name] = true
		if err := usable(&in.Config); err != nil {
			fail(err)
		}
		k := wireKey{keyOf(in), in.Config.VRID}
		if other, ok := wires[k]; ok {
			fail(fmt.Errorf("has interface, family and vrid %d in common with %q", in.Config.VRID, other))
		}
		wires[k] = in.Name
		for _, a := range slices.Concat(in.Addresses, in.Excluded) {
			if !a.Prefix.IsValid() {
				fail(errors.New("has an address that is none"))
			}
		}
	}
	return errors.Join(errs...)
}

// usable refuses what the loop could not run with. The configuration file's
// own rules are narrower and name the line.
func usable(c *vrrp.Config) error {
	switch {
	case c.VRID == 0:
		return errors.New("has vrid 0 (1..255)")
	case c.Priority == 0:
		return errors.New("has priority 0 (1..255)")
	case c.Version != vrrp.V2 && c.Version != vrrp.V3:
		return fmt.Errorf("has version %d (2 or 3)", c.Version)
	case c.Family != vrrp.IPv4 && c.Family != vrrp.IPv6:
		return fmt.Errorf("has family %d (4 or 6)", c.Family)
	case c.Version == vrrp.V2 && c.Family == vrrp.IPv6:
		return errors.New("has version 2 with IPv6, which version 2 does not have")
	case c.Interval < 10*time.Millisecond:
		return fmt.Errorf("has the advertisement interval %s (10 ms at least)", c.Interval)
	case len(c.Addresses) == 0 || len(c.Addresses) > vrrp.MaxAddresses:
		return fmt.Errorf("has %d addresses (1..%d)", len(c.Addresses), vrrp.MaxAddresses)
	case c.Mode == vrrp.Unicast && len(c.Peers) == 0:
		return errors.New("is unicast and has no peers")
	}
	for _, a := range slices.Concat(c.Addresses, c.Peers) {
		if !a.IsValid() || a.Is4() != (c.Family == vrrp.IPv4) {
			return fmt.Errorf("has the address %s, which is not of its family", a)
		}
	}
	return nil
}

// Configure replaces the set of instances: all or nothing. Instances that are
// new start, those that are gone release their addresses in order, the others
// keep their state and their timers. An interface that does not exist is
// waited for. An error is complete for people and means that nothing changed.
func (s *Speaker) Configure(ctx context.Context, c link.Configure) error {
	if err := check(c.Instances); err != nil {
		return err
	}
	for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		if slices.ContainsFunc(c.Instances, func(in vrrp.Instance) bool { return in.Config.Family == f }) {
			if err := mayOpen(f); err != nil {
				return err
			}
		}
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.configuring.Lock()
	defer s.configuring.Unlock()
	select {
	case <-s.ended:
		return ErrEnded
	default:
	}
	if err := s.reap(ctx, c.Instances); err != nil {
		return err
	}
	s.setRealtime(c.Realtime)

	c.Instances = slices.Clone(c.Instances)
	groups := map[string][]*vrrp.Config{}
	for i := range c.Instances {
		in := &c.Instances[i]
		if vrrp.JoinGroup([]*vrrp.Config{&in.Config}); in.Group != "" {
			groups[in.Group] = append(groups[in.Group], &in.Config)
		}
	}
	for _, members := range groups {
		vrrp.JoinGroup(members)
	}
	plan := change{grace: c.DirectorGrace}
	wanted := map[string]bool{}
	for i := range c.Instances {
		spec := c.Instances[i]
		wanted[spec.Name] = true
		m := s.members[spec.Name]
		switch {
		case m != nil && !m.leaving && sameIdentity(&m.spec, &spec):
			plan.update = append(plan.update, update{m.in, spec})
			if !slices.Equal(m.spec.TrackInterfaces, spec.TrackInterfaces) {
				s.track(m, spec.TrackInterfaces, &plan)
			}
			m.spec = spec
		default:
			plan.add = append(plan.add, s.newMember(spec, &plan))
		}
	}
	resumeTogether(plan.add)
	for name, m := range s.members {
		if !wanted[name] && !m.leaving {
			m.leaving = true
			plan.leave = append(plan.leave, m.in)
		}
	}
	// Not ctx: what was begun is carried through.
	if err := s.call(context.WithoutCancel(ctx), func() { s.loop.apply(&plan) }); err != nil {
		return err
	}
	s.startPlanned(&plan)
	return nil
}

// change is what one Configure does to the loop.
type change struct {
	ports  []*port
	add    []*instance
	update []update
	leave  []*instance
	starts []func()
	tracks []func() // before the instances are started or updated
	grace  time.Duration
}

type update struct {
	in   *instance
	spec vrrp.Instance
}

// reap waits for instances that are on their way out and whose name, or whose
// place on the wire, is wanted again; first it sends those out whose identity
// changes.
func (s *Speaker) reap(ctx context.Context, wanted []vrrp.Instance) error {
	names := map[string]*vrrp.Instance{}
	for i := range wanted {
		names[wanted[i].Name] = &wanted[i]
	}
	var wait []*member
	for name, m := range s.members {
		w := names[name]
		if w != nil && sameIdentity(&m.spec, w) && !m.leaving {
			continue
		}
		clash := w != nil || slices.ContainsFunc(wanted, func(x vrrp.Instance) bool {
			return keyOf(&x) == keyOf(&m.spec) && x.Config.VRID == m.spec.Config.VRID
		})
		if !clash {
			continue
		}
		if !m.leaving {
			m.leaving = true
			in := m.in
			s.loop.box.post(in.leave)
		}
		wait = append(wait, m)
	}
	for _, m := range wait {
		select {
		case <-m.ended:
		case <-ctx.Done():
			return fmt.Errorf("vrrp instance %q has not released its addresses yet: %w", m.spec.Name, ctx.Err())
		case <-s.ended:
			return ErrEnded
		}
	}
	for _, m := range wait {
		if s.members[m.spec.Name] == m {
			delete(s.members, m.spec.Name)
		}
	}
	return nil
}

// newMember makes an instance and what it needs; nothing runs yet.
func (s *Speaker) newMember(spec vrrp.Instance, plan *change) *instance {
	p := s.ports[keyOf(&spec)]
	if p == nil {
		p = s.newPort(keyOf(&spec), plan)
	}
	p.users++
	in := newInstance(spec, p, s.loop)
	in.resuming = s.lookBack(in)
	ctx, cancel := context.WithCancel(s.ctx)
	m := &member{in: in, spec: spec, cancel: cancel, ended: make(chan struct{})}
	in.holder = s.o.Addresses.Holder(spec, func(r Report) { s.loop.box.post(func() { in.reported(r) }) })
	in.holder.OnClaim(func(a netip.Addr, iface string, mac net.HardwareAddr) {
		s.loop.box.post(func() { in.claimed(a, iface, mac) })
	})
	in.end = func() {
		close(m.ended)
		s.wg.Go(func() { s.clear(m, p) })
	}
	s.members[spec.Name] = m
	plan.starts = append(plan.starts, func() {
		s.wg.Go(func() { _ = in.holder.Run(ctx) })
	})
	s.track(m, spec.TrackInterfaces, plan)
	return in
}

// lookBack finds the instance's place in the journal, and tells whether it was
// master there until a moment ago and still has its addresses.
func (s *Speaker) lookBack(in *instance) bool {
	if s.journal == nil {
		return false
	}
	taken := map[*uint64]bool{}
	for _, m := range s.members {
		taken[m.in.mark] = true
	}
	var last time.Duration
	in.mark, last = s.journal.slot(&in.spec, taken)
	note(in.mark, 0)
	return recent(last, now(), in.spec.Config.Interval) && s.o.Renewed != nil && s.o.Renewed(in.spec)
}

// resumeTogether: a sync group goes on as master only if all of it can; half
// of it would be master here and half of it there.
func resumeTogether(added []*instance) {
	halved := map[string]bool{}
	for _, in := range added {
		if in.grouped() && !in.resuming {
			halved[in.spec.Group] = true
		}
	}
	for _, in := range added {
		if in.grouped() && halved[in.spec.Group] {
			in.resuming = false
		}
	}
}

// track has the interfaces watched that an instance depends on. It begins with
// their state as it is: what is only named anew must not count as bad.
func (s *Speaker) track(m *member, list []vrrp.Track, plan *change) {
	for _, c := range m.watches {
		c()
	}
	m.watches = nil
	in := m.in
	tracks, seen := make([]track, len(list)), make([]atomic.Bool, len(list))
	for i, t := range list {
		tracks[i].Track = t
		m.watches = append(m.watches, s.o.Addresses.Watch(t.Name, func(x Interface) {
			seen[i].Store(x.Up)
			s.loop.box.post(func() { in.tracked(x.Name, x.Up) })
		}))
	}
	plan.tracks = append(plan.tracks, func() {
		for i := range tracks {
			tracks[i].up = seen[i].Load()
		}
		in.tracks = tracks
	})
}

// clear takes away what an instance leaves behind that has ended.
func (s *Speaker) clear(m *member, p *port) {
	m.cancel()
	s.configuring.Lock()
	defer s.configuring.Unlock()
	for _, c := range m.watches {
		c()
	}
	m.watches = nil
	if s.members[m.spec.Name] == m {
		delete(s.members, m.spec.Name)
	}
	if p.users--; p.users > 0 {
		return
	}
	p.stop()
	delete(s.ports, p.key)
	s.loop.box.post(func() { s.loop.detach(p) })
}

func (s *Speaker) newPort(key portKey, plan *change) *port {
	p := &port{key: key, fd: -1}
	ctx, cancel := context.WithCancel(s.ctx)
	k := &keeper{key: key, latest: make(chan Interface, 1), tell: func(in Interface, fd int, err error) {
		s.loop.box.post(func() { s.loop.changed(p, in, fd, err) })
	}}
	p.stop = cancel
	s.ports[key] = p
	plan.ports = append(plan.ports, p)
	plan.starts = append(plan.starts, func() {
		s.wg.Go(func() {
			unwatch := s.o.Addresses.Watch(key.iface, k.watched)
			defer unwatch()
			k.run(ctx)
		})
	})
	return p
}

func (s *Speaker) startPlanned(plan *change) {
	for _, f := range plan.starts {
		f()
	}
}
