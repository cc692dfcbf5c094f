package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeKernel behaves like the kernel: errnos, lifetimes, prefix rules.
type fakeKernel struct {
	mu     sync.Mutex
	links  map[string]int // name to index
	addrs  map[int][]fakeAddress
	calls  []string
	broken error // returned by writes
	silent bool  // Lookup gets no answer
}

type fakeAddress struct {
	InterfaceAddress
	until time.Time // zero for ever
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{links: map[string]int{"eth0": 2}, addrs: map[int][]fakeAddress{}}
}

func (k *fakeKernel) expire(index int) {
	k.addrs[index] = slices.DeleteFunc(k.addrs[index], func(a fakeAddress) bool {
		return !a.until.IsZero() && !time.Now().Before(a.until)
	})
}

func (k *fakeKernel) Lookup(name string) (Interface, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.silent {
		return Interface{Name: name}, errors.New("no answer")
	}
	i, ok := k.links[name]
	if !ok {
		return Interface{Name: name}, ErrAbsent
	}
	return Interface{Name: name, Index: i, Up: true, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}}, nil
}

func (k *fakeKernel) List(index int) ([]InterfaceAddress, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(index)
	var out []InterfaceAddress
	for _, a := range k.addrs[index] {
		out = append(out, a.InterfaceAddress)
	}
	return out, nil
}

func (k *fakeKernel) set(verb string, index int, a Address, lifetime time.Duration, exclusive bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, verb+" "+a.Prefix.String())
	if k.broken != nil {
		return k.broken
	}
	if !slices.Contains(slices.Collect(mapValues(k.links)), index) {
		return ErrAbsent
	}
	k.expire(index)
	list := k.addrs[index]
	for i := range list {
		if list[i].Prefix == a.Prefix {
			if exclusive {
				return ErrExists
			}
			list[i].until, list[i].Permanent = time.Now().Add(lifetime), false
			return nil
		}
	}
	k.addrs[index] = append(list, fakeAddress{InterfaceAddress{Prefix: a.Prefix}, time.Now().Add(lifetime)})
	return nil
}

func mapValues(m map[string]int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func (k *fakeKernel) Add(index int, a Address, lifetime time.Duration) error {
	return k.set("add", index, a, lifetime, true)
}

func (k *fakeKernel) Renew(index int, a Address, lifetime time.Duration) error {
	return k.set("renew", index, a, lifetime, false)
}

func (k *fakeKernel) Delete(index int, p netip.Prefix) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, "delete "+p.String())
	if k.broken != nil {
		return k.broken
	}
	k.expire(index)
	n := len(k.addrs[index])
	k.addrs[index] = slices.DeleteFunc(k.addrs[index], func(a fakeAddress) bool { return a.Prefix == p })
	if len(k.addrs[index]) == n {
		return ErrNotThere
	}
	return nil
}

func (k *fakeKernel) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.calls
	k.calls = nil
	return c
}

func (k *fakeKernel) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = err
}

func (k *fakeKernel) answer(yes bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.silent = !yes
}

func (k *fakeKernel) has(p string) bool {
	list, _ := k.List(k.links["eth0"])
	_, ok := find(list, netip.MustParsePrefix(p))
	return ok
}

// fakeSender notes what was announced and when.
type fakeSender struct {
	mu   sync.Mutex
	t0   time.Time
	sent []string
	// prepared are the links that Prepare was called for.
	prepared []string
}

func (s *fakeSender) Prepare(in Interface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = append(s.prepared, fmt.Sprintf("%s@%d", in.Name, in.Index))
}

func (s *fakeSender) Announce(in Interface, a netip.Addr, _ Opcode) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, fmt.Sprintf("%s %s@%d", time.Since(s.t0), a, in.Index))
	return 1, nil
}

func (s *fakeSender) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sent
	s.sent = nil
	return c
}

// bench is a holder on fakes in a bubble.
type bench struct {
	k       *fakeKernel
	s       *fakeSender
	r       *reports
	h       *Holder
	watches []func(Interface)
	stop    func()
}

func newBench(t *testing.T, c Config) *bench {
	b := &bench{k: newFakeKernel(), s: &fakeSender{t0: time.Now()}, r: &reports{}}
	watch := func(_ string, f func(Interface)) func() {
		b.watches = append(b.watches, f)
		return func() {}
	}
	b.h = newHolder(b.k, b.s, watch, c, slog.New(slog.DiscardHandler), b.r.add)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	b.stop = func() { cancel(); <-done }
	go func() { defer close(done); _ = b.h.Run(ctx) }()
	synctest.Wait()
	return b
}

func (b *bench) event() {
	for _, f := range b.watches {
		f(Interface{})
	}
	synctest.Wait()
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func two() Config {
	return Config{Interface: "eth0", Lifetime: 9 * time.Second, Addresses: []Address{addr("10.0.0.1/32"), addr("10.0.0.2/32")}}
}

// A round that is under way ends with Quiet, and so does one that was asked for
// in the same breath; the addresses stay.
func TestHolderIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := two()
		c.Announce = Plan{Count: 3, Interval: 200 * time.Millisecond, RepeatAfter: time.Second, Refresh: 2 * time.Second}
		b := newBench(t, c)
		defer b.stop()
		b.h.Hold()
		b.h.Announce(true)
		synctest.Wait()
		expect(t, "the first round", b.s.take(), "0s 10.0.0.1@2", "0s 10.0.0.2@2")
		b.h.Quiet()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		expect(t, "quiet", b.s.take())
		if r := b.r.last(); r.Phase != Held || !b.k.has("10.0.0.1/32") {
			t.Errorf("the addresses are gone: %+v", r)
		}
		b.h.Announce(true)
		b.h.Quiet()
		synctest.Wait()
		expect(t, "asked for and withdrawn", b.s.take())
		b.h.Quiet()
		b.h.Announce(false)
		synctest.Wait()
		expect(t, "asked for again", b.s.take(), "5s 10.0.0.1@2", "5s 10.0.0.2@2")
	})
}

func TestHolderRenewsEachThird(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		expect(t, "at the start", b.k.take())
		order := b.h.Hold()
		synctest.Wait()
		expect(t, "hold", b.k.take(), "add 10.0.0.1/32", "add 10.0.0.2/32")
		if r := b.r.last(); r.Phase != Held || r.Order != order {
			t.Errorf("report %+v", r)
		}
		time.Sleep(3*time.Second - time.Millisecond)
		synctest.Wait()
		expect(t, "before a third", b.k.take())
		n := b.r.len()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		expect(t, "after a third", b.k.take(), "renew 10.0.0.1/32", "renew 10.0.0.2/32")
		if b.r.len() != n+1 {
			t.Errorf("%d reports for a renewal", b.r.len()-n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !b.k.has("10.0.0.1/32") || len(b.k.take()) != 40 {
			t.Error("not renewed for a minute")
		}
		b.h.Drop()
		synctest.Wait()
		expect(t, "drop", b.k.take(), "delete 10.0.0.1/32", "delete 10.0.0.2/32")
		time.Sleep(time.Minute)
		expect(t, "later", b.k.take())
		b.stop()
	})
}

func TestHolderFollowsTheLatestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		b.h.Hold()
		b.h.Drop()
		order := b.h.Hold()
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held || r.Order != order || !b.k.has("10.0.0.2/32") {
			t.Errorf("report %+v", r)
		}
		b.h.Hold()
		last := b.h.Drop()
		synctest.Wait()
		if r := b.r.last(); r.Phase != Dropped || r.Order != last || b.k.has("10.0.0.1/32") {
			t.Errorf("report %+v", r)
		}
		b.stop()
	})
}

func TestHolderKeepsTryingAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		b.k.fail(ErrNotAllowed)
		b.h.Hold()
		synctest.Wait()
		if r := b.r.last(); r.Phase != Waiting || !errors.Is(r.Err, ErrNotAllowed) || len(r.Missing) != 2 {
			t.Errorf("report %+v", r)
		}
		n := b.r.len()
		time.Sleep(10 * time.Second)
		if calls := len(b.k.take()); calls < 20 || calls > 40 {
			t.Errorf("%d attempts in 10 s", calls)
		}
		if b.r.len() != n {
			t.Error("the same failure was reported again")
		}
		b.k.fail(nil)
		time.Sleep(retryMax)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held {
			t.Errorf("report %+v", r)
		}
		// Renewal fails: the kernel lets the addresses go, later they are restored.
		b.k.fail(errors.New("out of memory"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Waiting || len(r.Missing) != 2 {
			t.Errorf("report after the lifetime %+v", r)
		}
		if calls := len(b.k.take()); calls > 60 {
			t.Errorf("%d attempts", calls)
		}
		b.h.Drop()
		synctest.Wait()
		if r := b.r.last(); r.Phase != Dropped {
			t.Errorf("nothing was there, but %+v", r)
		}
		b.k.fail(nil)
		b.h.Hold()
		synctest.Wait()
		b.k.fail(errors.New("busy"))
		b.h.Drop()
		synctest.Wait()
		if r := b.r.last(); r.Phase != Dropping || r.Err == nil {
			t.Errorf("report %+v", r)
		}
		b.k.fail(nil)
		time.Sleep(retryMax)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Dropped || b.k.has("10.0.0.1/32") {
			t.Errorf("report %+v", r)
		}
		b.stop()
	})
}

func TestHolderAnnouncesWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := two()
		c.Addresses[1].Interface = "eth1" // does not exist yet
		c.Announce = Plan{Count: 2, Interval: 100 * time.Millisecond}
		b := newBench(t, c)
		b.h.Announce(true)
		time.Sleep(time.Second)
		expect(t, "not held", b.s.take())
		b.s.t0 = time.Now()
		b.h.Hold()
		b.h.Announce(true)
		time.Sleep(500 * time.Millisecond)
		expect(t, "one link", b.s.take(), "0s 10.0.0.1@2", "100ms 10.0.0.1@2")
		b.k.mu.Lock()
		b.k.links["eth1"] = 7
		b.k.mu.Unlock()
		b.s.t0 = time.Now()
		b.event()
		time.Sleep(500 * time.Millisecond)
		expect(t, "the other link came", b.s.take(), "0s 10.0.0.1@2", "0s 10.0.0.2@7", "100ms 10.0.0.1@2", "150ms 10.0.0.2@7")
		b.s.t0 = time.Now()
		b.h.Announce(false)
		time.Sleep(500 * time.Millisecond)
		expect(t, "single sweep", b.s.take(), "0s 10.0.0.1@2", "0s 10.0.0.2@7")
		b.h.Announce(true)
		b.h.Drop()
		synctest.Wait()
		b.s.take()
		time.Sleep(time.Second)
		expect(t, "dropped", b.s.take())
		b.stop()
	})
}

func TestHolderReconfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		b.h.Hold()
		b.h.Announce(true)
		synctest.Wait()
		b.k.take()
		b.s.take()
		c := two()
		c.Addresses = []Address{addr("10.0.0.2/32"), addr("10.0.0.3/32")}
		b.h.Reconfigure(c)
		synctest.Wait()
		expect(t, "difference", b.k.take(), "delete 10.0.0.1/32", "add 10.0.0.3/32")
		if s := b.h.Status(); len(s) != 2 || !s[1].Present || s[1].Interface != "eth0" {
			t.Errorf("status %+v", s)
		}
		if got := b.s.take(); len(got) == 0 {
			t.Error("the new address was not announced")
		}
		b.h.Reconfigure(c)
		synctest.Wait()
		expect(t, "no difference", b.k.take())
		b.h.Drop()
		synctest.Wait()
		b.k.take()
		b.h.Reconfigure(two())
		synctest.Wait()
		expect(t, "while dropped", b.k.take())
		b.stop()
	})
}

// A shorter lifetime counts from the moment it was asked for: whoever waits for
// renewals expects them more often from then on.
func TestHolderRenewsForAShorterLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := two()
		c.Lifetime = time.Minute
		b := newBench(t, c)
		b.h.Hold()
		synctest.Wait()
		b.k.take()
		time.Sleep(10 * time.Second)
		b.h.Reconfigure(two())
		synctest.Wait()
		expect(t, "at once", b.k.take(), "renew 10.0.0.1/32", "renew 10.0.0.2/32")
		if r := b.r.last(); r.Phase != Held || r.Age != 0 {
			t.Errorf("report %+v", r)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		expect(t, "a third later", b.k.take(), "renew 10.0.0.1/32", "renew 10.0.0.2/32")
		b.h.Reconfigure(c)
		synctest.Wait()
		expect(t, "a longer one has time", b.k.take())
		b.stop()
	})
}

// The age in a report is that of the address that was not renewed.
func TestHolderTellsOfTheOldestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, two())
		b.k.addrs[2] = []fakeAddress{{InterfaceAddress{Prefix: netip.MustParsePrefix("10.0.0.2/32"), Permanent: true}, time.Time{}}}
		b.h.Hold()
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held || r.Age != 0 {
			t.Errorf("report %+v", r)
		}
		time.Sleep(time.Second)
		b.k.fail(errors.New("out of memory"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held || r.Err == nil || r.Age != 3*time.Second {
			t.Errorf("after a renewal that failed %+v", r)
		}
		b.k.fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held || r.Err != nil || r.Age != 0 {
			t.Errorf("after one that worked %+v", r)
		}
		c := two()
		c.Addresses = c.Addresses[1:]
		b.h.Reconfigure(c)
		synctest.Wait()
		if r := b.r.last(); r.Phase != Held || len(r.Foreign) != 1 || r.Age >= 0 {
			t.Errorf("nothing is ours, but %+v", r)
		}
		b.stop()
	})
}

func TestHolderRemovesOnlyStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		k.addrs[2] = []fakeAddress{
			{InterfaceAddress{Prefix: netip.MustParsePrefix("10.0.0.1/32")}, time.Now().Add(time.Minute)},
			{InterfaceAddress{Prefix: netip.MustParsePrefix("10.0.0.2/32"), Permanent: true}, time.Time{}},
			{InterfaceAddress{Prefix: netip.MustParsePrefix("10.0.0.9/24")}, time.Now().Add(time.Minute)},
		}
		b := &bench{k: k, s: &fakeSender{}, r: &reports{}}
		b.h = newHolder(k, b.s, func(string, func(Interface)) func() { return func() {} }, two(), slog.New(slog.DiscardHandler), b.r.add)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = b.h.Run(ctx) }()
		synctest.Wait()
		expect(t, "start", k.take(), "delete 10.0.0.1/32")
		b.h.Hold()
		synctest.Wait()
		expect(t, "hold", k.take(), "add 10.0.0.1/32", "add 10.0.0.2/32")
		if r := b.r.last(); r.Phase != Held || len(r.Foreign) != 1 {
			t.Errorf("report %+v", r)
		}
		// Somebody removes the permanent one: it is ours from now on.
		k.mu.Lock()
		k.addrs[2] = slices.DeleteFunc(k.addrs[2], func(a fakeAddress) bool { return a.Prefix.Addr() == netip.MustParseAddr("10.0.0.2") })
		k.mu.Unlock()
		b.h.change(func(w *wanted) { w.changed++ })
		synctest.Wait()
		expect(t, "restore", k.take(), "add 10.0.0.2/32")
		if r := b.r.last(); len(r.Restored) != 1 || len(r.Foreign) != 0 {
			t.Errorf("report %+v", r)
		}
		b.h.Drop()
		synctest.Wait()
		expect(t, "drop", k.take(), "delete 10.0.0.1/32", "delete 10.0.0.2/32")
		cancel()
		<-done
	})
}
