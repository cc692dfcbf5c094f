package speaker

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// maxMessage is the longest message: 255 IPv6 addresses.
const maxMessage = 8 + 16*vrrp.MaxAddresses

// instance is one virtual router. Only the loop touches it, bar holder, which
// is safe for all, and what is marked otherwise.
type instance struct {
	loop   *loop
	spec   vrrp.Instance
	port   *port
	holder Holder
	log    *slog.Logger
	end    func() // called once, when the instance has left

	machine *vrrp.Machine
	leaving bool
	since   time.Time
	source  netip.Addr
	up      bool
	last    vrrp.Time
	tracks  []track
	delta   int // sum of what is tracked
	worn    int // delta that the machine knows: that of the group

	// Of the sync group.
	left       bool // not master any more, since the group decided last
	groupFault bool // as last decided

	// Of the holder.
	order   uint64        // last order
	dropped bool          // it was Drop, and is done
	held    bool          // it was Hold, and is done
	failAt  time.Duration // addresses count as failed then, unless held or renewed before; 0 for never

	// Of the last valid advertisement heard.
	heard          time.Duration
	masterSource   netip.Addr
	masterPriority uint8

	mark     *uint64       // its place in the journal, nil for none
	resuming bool          // goes on as master where an earlier process was
	resumed  time.Duration // since when that counts as ready, though the director does not say so; 0 for not

	reasserted time.Duration // when a second master was last told of
	told       netip.Addr    // master that was told of since this is backup
	toldAt     time.Duration

	counters
	advert  vrrp.Advertisement // reused by receive
	out     vrrp.Advertisement // reused by sendTo
	message [maxMessage]byte
	warned  warnings
}

// track is an interface that the instance watches besides its own.
type track struct {
	vrrp.Track
	up bool
}

// warnings are logged once until the matter is over.
type warnings struct {
	mismatch bool
	source   bool
	send     bool
	foreign  bool
	rejected time.Duration // when the last rejected packet was logged
	claim    time.Duration // likewise a foreign claim
	renewal  time.Duration // and a renewal that failed
}

func newInstance(spec vrrp.Instance, p *port, l *loop) *instance {
	in := &instance{
		loop: l, spec: spec, port: p, log: l.log.With("vrrp_instance", spec.Name), since: time.Now(),
		machine: vrrp.NewMachine(spec.Config),
	}
	in.advert.Addresses = make([]netip.Addr, 0, vrrp.MaxAddresses)
	return in
}

func (in *instance) now() vrrp.Time { return in.monotone(now()) }

// monotone keeps the machine's time from going back: packets carry the time
// of their arrival, which may be before that of the last step.
func (in *instance) monotone(at time.Duration) vrrp.Time {
	in.last = max(in.last, vrrp.Time(at))
	return in.last
}

// receive validates a packet and gives it to the machine. What is rejected
// touches nothing but counters.
func (in *instance) receive(p *packet) {
	h := vrrp.Header{Family: in.spec.Config.Family, Src: p.src, Dst: p.dst, TTL: int(p.ttl)}
	in.advert.Parse(p.payload, h)
	reason, mismatch := in.spec.Config.Validate(&in.advert, h, in.source)
	if reason != vrrp.ReasonNone {
		in.drops[reason]++
		in.rejected(reason, p)
		return
	}
	in.received++
	if in.advert.ChecksumForm == vrrp.ChecksumMessageOnly && in.spec.Config.Version == vrrp.V3 {
		in.messageOnly++
	}
	in.listDiffers(mismatch, p.src)
	in.heard, in.masterSource, in.masterPriority = p.at, p.src, in.advert.Priority
	if in.advert.Priority == 0 {
		in.zeroReceived++
	}
	in.step(in.monotone(p.at), vrrp.Event{Kind: vrrp.EventAdvertisement, Source: p.src, Advertisement: &in.advert})
	if in.masterSource != in.told && in.advert.Priority > 0 && in.machine.State() == vrrp.Backup {
		in.tellMaster()
	}
}

// tellEvery is the least time between two words about who is master: while
// there are two, their advertisements alternate.
const tellEvery = time.Second

// tellMaster says who holds the addresses, which the director has to know before
// they come here.
func (in *instance) tellMaster() {
	at := now()
	if in.told.IsValid() && at-in.toldAt < tellEvery {
		return // the next advertisement is not far
	}
	in.told, in.toldAt = in.masterSource, at
	in.loop.out.put(link.Transition{
		Instance: in.spec.Name, From: vrrp.Backup, To: vrrp.Backup, Reason: "master-heard", At: time.Now(),
		Priority: in.machine.Priority(), Master: in.told,
	})
}

// logEvery is the least time between two log records about what others cause.
const logEvery = 10 * time.Second

func (in *instance) rejected(r vrrp.Reason, p *packet) {
	if in.warned.rejected != 0 && p.at-in.warned.rejected < logEvery {
		return
	}
	in.warned.rejected = p.at
	in.log.Warn("advertisement rejected", "event", "advertisement_rejected", "reason", r.String(), "from", p.src.String())
}

func (in *instance) listDiffers(differs bool, from netip.Addr) {
	if differs {
		in.mismatch++
	}
	if differs && !in.warned.mismatch {
		in.log.Warn("the address list of the peer differs from ours; give both nodes the same addresses",
			"event", "address_mismatch", "from", from.String())
	}
	in.warned.mismatch = differs
}

// due tells whether the machine wants to be stepped now.
func (in *instance) due(at time.Duration) bool {
	d, ok := in.deadline()
	return ok && d <= at
}

// deadline is when the instance wants to be stepped; false for never.
func (in *instance) deadline() (time.Duration, bool) {
	d, ok := in.machine.Deadline()
	if in.failAt != 0 && (!ok || time.Duration(d) > in.failAt) {
		return in.failAt, true
	}
	return time.Duration(d), ok
}

func (in *instance) tick(at time.Duration) {
	if in.failAt != 0 && at >= in.failAt {
		in.failAt = 0
		in.log.Error("the addresses could not be held or renewed in time", "event", "addresses_failed")
		in.step(in.monotone(at), vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesFailed})
	}
	if d, ok := in.machine.Deadline(); ok && time.Duration(d) <= at {
		in.step(in.monotone(at), vrrp.Event{Kind: vrrp.EventTimer})
	}
}

// step feeds the machine and does what it says.
func (in *instance) step(at vrrp.Time, e vrrp.Event) {
	for _, a := range in.machine.Step(at, e) {
		in.do(&a)
	}
}

func (in *instance) do(a *vrrp.Action) {
	switch a.Kind {
	case vrrp.ActionSend:
		in.send(a.Priority, a.Interval)
	case vrrp.ActionTransition:
		in.transition(a)
	case vrrp.ActionHold:
		in.order = in.holder.Hold()
		in.dropped, in.held = false, false
		in.failAt = now() + in.patience()
	case vrrp.ActionDrop:
		in.order = in.holder.Drop()
		in.dropped, in.held = false, false
		in.failAt = 0
	case vrrp.ActionAnnounce:
		in.holder.Announce(a.Full)
	case vrrp.ActionCount:
		in.count(a.Counter)
	}
}

// patience is how long addresses may go without being put on or renewed: two
// thirds of their lifetime. Then the kernel is about to remove them, and an
// advertisement without the addresses behind it is a lie.
func (in *instance) patience() time.Duration { return lifetime(&in.spec) * 2 / 3 }

// firstPatience is the bound when they cannot be put on at all.
const firstPatience = time.Second

// paused: nobody here could run for some time. A pause in which a renewal would
// have been due is no failure of the addresses: the holder gets the time to see
// after them, and tells what it finds.
func (in *instance) paused(at, late time.Duration) {
	if in.failAt == 0 || late < lifetime(&in.spec)/3 {
		return
	}
	in.order = in.holder.Hold()
	in.failAt = max(in.failAt, at+firstPatience)
}

func lifetime(spec *vrrp.Instance) time.Duration {
	if spec.Lifetime > 0 {
		return spec.Lifetime
	}
	return spec.Config.Lifetime()
}

// send builds and sends an advertisement, to each peer in unicast mode.
func (in *instance) send(priority uint8, interval time.Duration) {
	c := &in.spec.Config
	all := true
	if c.Mode == vrrp.Multicast {
		all = in.sendTo(c.Family.Group(), priority, interval)
	} else {
		for _, p := range c.Peers {
			all = in.sendTo(p, priority, interval) && all
		}
	}
	in.warned.send = in.warned.send && !all
}

// sendTo tells whether it was sent.
func (in *instance) sendTo(dst netip.Addr, priority uint8, interval time.Duration) bool {
	c := &in.spec.Config
	if in.port.fd < 0 || !in.source.IsValid() {
		in.sendErrors++
		return false
	}
	in.out = vrrp.Advertisement{
		Version: c.Version, VRID: c.VRID, Priority: priority, Interval: interval,
		AuthType: c.Auth.Type, AuthData: c.Auth.Data, Addresses: c.Addresses,
	}
	m := in.out.Append(in.message[:0], c.Checksum, in.source, dst)
	err := in.loop.transmit(in.port, in.source, dst, m)
	if err == nil {
		in.sent++
		if priority == 0 {
			in.zeroSent++
		}
		if in.machine.State() == vrrp.Master && priority > 0 {
			note(in.mark, now())
		}
		return true
	}
	in.sendErrors++
	if !in.warned.send {
		in.warned.send = true
		in.log.Warn("advertisement not sent", "event", "send_failed", "to", dst.String(), "err", err)
	}
	return false
}

func (in *instance) transition(a *vrrp.Action) {
	at := time.Now()
	in.since = at
	in.entered[a.To]++
	in.left = in.left || a.From == vrrp.Master
	if a.To != vrrp.Master {
		note(in.mark, 0)
	}
	if a.From == vrrp.Master && a.To != vrrp.Master {
		// The addresses may stay until the next master has them. A round that
		// went on would speak after it: with two take-overs in quick succession
		// neighbours would be left with the one in the middle.
		in.holder.Quiet()
	}
	reason := a.Reason.String()
	in.log.Info("now "+a.To.String(), "event", "transition", "from", a.From.String(), "to", a.To.String(),
		"reason", reason, "planned", a.Planned, "priority", in.machine.Priority())
	in.told = netip.Addr{}
	in.loop.out.put(link.Transition{
		Instance: in.spec.Name, From: a.From, To: a.To, Planned: a.Planned, Reason: reason, At: at,
		Priority: in.machine.Priority(),
	})
}

// reassertEvery is the least time between two words of that kind.
const reassertEvery = 5 * time.Second

// count notes what the machine alone can see.
func (in *instance) count(c vrrp.Counter) {
	in.counted[c]++
	if c != vrrp.CountLowerPriority || in.machine.State() != vrrp.Master {
		return
	}
	if at := now(); in.reasserted == 0 || at-in.reasserted >= reassertEvery {
		in.reasserted = at
		in.loop.out.put(link.Transition{
			Instance: in.spec.Name, From: vrrp.Master, To: vrrp.Master, Reason: c.String(), At: time.Now(),
			Priority: in.machine.Priority(), Reassert: true,
		})
	}
}

// reported takes what the holder says.
func (in *instance) reported(r Report) {
	if len(r.Restored) > 0 {
		in.log.Warn("something removed our addresses, they are back", "event", "addresses_restored", "addresses", join(r.Restored))
	}
	if len(r.Foreign) > 0 && !in.warned.foreign && in.spec.Config.Priority != vrrp.OwnerPriority {
		in.log.Warn("addresses were configured permanently on this machine by somebody else: they stay when this node is not master; remove them from its network configuration",
			"event", "addresses_foreign", "addresses", join(r.Foreign))
	}
	in.warned.foreign = len(r.Foreign) > 0
	if r.Order != in.order {
		return // of an order that is no longer the latest
	}
	switch r.Phase {
	case Held:
		if at := now(); r.Err != nil && (in.warned.renewal == 0 || at-in.warned.renewal >= logEvery) {
			in.warned.renewal = at
			in.log.Warn("cannot renew all addresses, trying again", "event", "addresses_unrenewed", "err", r.Err)
		}
		in.failAt = 0 // what is somebody else's for ever has nothing to renew
		if r.Age >= 0 {
			in.failAt = now() + in.patience() - r.Age
		}
		if in.held {
			return // a renewal
		}
		in.held = true
		in.step(in.now(), vrrp.Event{Kind: vrrp.EventAddresses, Addresses: vrrp.AddressesHeld})
	case Waiting:
		in.log.Warn("cannot hold all addresses, trying again", "event", "addresses_missing", "err", r.Err)
		if !in.held {
			in.failAt = min(in.failAt, now()+firstPatience)
		}
	case Dropped:
		in.dropped = true
	case Dropping:
		in.log.Warn("cannot remove all addresses, trying again", "event", "addresses_stuck", "err", r.Err)
	}
}

func join(list []netip.Prefix) string {
	s := make([]string, len(list))
	for i, p := range list {
		s[i] = p.String()
	}
	return strings.Join(s, " ")
}

// interfaceChanged tells the machine of link and source address.
func (in *instance) interfaceChanged() {
	p := in.port
	src := source(&p.iface, &in.spec, in.loop.isVirtual)
	up := p.iface.Up && p.fd >= 0
	missing := up && !src.IsValid() && in.spec.Source.IsValid()
	if missing && !in.warned.source {
		in.log.Warn("the configured source is no address of the interface, waiting for it", "event", "source_missing",
			"interface", p.key.iface, "source", in.spec.Source.String())
	}
	in.warned.source = missing
	if src == in.source && up == in.up {
		return
	}
	in.source, in.up = src, up
	in.step(in.now(), vrrp.Event{Kind: vrrp.EventInterface, Up: up, Source: src})
}

// claimed: another station says that one of our addresses is its own.
func (in *instance) claimed(a netip.Addr, iface string, mac net.HardwareAddr) {
	// While we release, the next master says so: that is how it should be.
	if at := now(); in.machine.State() == vrrp.Master && (in.warned.claim == 0 || at-in.warned.claim >= logEvery) {
		in.warned.claim = at
		in.log.Warn("another station claims our address", "event", "foreign_claim",
			"address", a.String(), "interface", iface, "mac", mac.String())
		// Whether it is a real server the director can find out.
		in.loop.out.put(link.Transition{
			Instance: in.spec.Name, From: vrrp.Master, To: vrrp.Master, Reason: "claim-heard", At: time.Now(),
			Priority: in.machine.Priority(), Claim: &link.Claim{Address: a, Interface: iface, HardwareAddr: slices.Clone(mac)},
		})
	}
	in.step(in.now(), vrrp.Event{Kind: vrrp.EventClaim})
}

// posture tells the machine what everything tracked means for it, and those of
// its sync group if it means something for them.
func (in *instance) posture() {
	p := &in.loop.posture
	ip := p.Instances[in.spec.Name]
	if p.Ready {
		in.resumed = 0
	}
	e := vrrp.Event{Kind: vrrp.EventPosture, Ready: p.Ready || in.resumed != 0, Fault: ip.Fault != ""}
	for _, d := range ip.Deltas {
		e.Delta += d
	}
	for i := range in.tracks {
		switch t := &in.tracks[i]; {
		case t.up:
		case t.Delta == 0:
			e.Fault = true
		default:
			e.Delta += t.Delta
		}
	}
	if !in.grouped() {
		in.delta, in.worn = e.Delta, e.Delta
		in.step(in.now(), e)
		return
	}
	in.delta = e.Delta
	e.Delta = in.loop.groupDelta(in.spec.Group)
	in.worn = e.Delta
	in.step(in.now(), e)
	for _, other := range in.loop.instances {
		if other != in && other.grouped() && other.spec.Group == in.spec.Group && other.worn != e.Delta {
			other.posture()
		}
	}
}

// tracked takes the state of a tracked interface.
func (in *instance) tracked(name string, up bool) {
	changed := false
	for i := range in.tracks {
		if t := &in.tracks[i]; t.Name == name && t.up != up {
			t.up, changed = up, true
			in.log.Info("tracked interface", "event", "track", "interface", name, "up", up)
		}
	}
	if changed {
		in.posture()
	}
}

// start is the first step: without EventResume it takes stale addresses off.
func (in *instance) start() {
	if in.resuming {
		in.log.Info("was master until a moment ago, going on", "event", "resume")
		in.resumed = now()
		// Before the holder runs: it would begin with taking the addresses off.
		in.order = in.holder.Hold()
		in.failAt = now() + in.patience()
		in.step(in.now(), vrrp.Event{Kind: vrrp.EventResume})
	}
	in.posture()
	in.interfaceChanged()
}

func (in *instance) reconfigure(spec vrrp.Instance) {
	if !spec.Config.Grouped {
		in.groupFault = false
	}
	in.spec = spec
	in.holder.Reconfigure(spec)
	in.step(in.now(), vrrp.Event{Kind: vrrp.EventReconfigure, Config: &in.spec.Config})
	in.posture()
}

// leave begins the orderly end.
func (in *instance) leave() {
	if !in.leaving {
		in.leaving = true
		in.step(in.now(), vrrp.Event{Kind: vrrp.EventStop})
	}
}

// finished: it has left and holds nothing any more.
func (in *instance) finished() bool { return in.leaving && in.dropped && in.machine.Stopped() }

// failover hands over in order.
func (in *instance) failover(f link.Failover) error {
	switch {
	case in.machine.State() != vrrp.Master:
		return fmt.Errorf("vrrp instance %q is %s here, not master: there is nothing to hand over", in.spec.Name, in.machine.State())
	case in.heard == 0 && !f.Force:
		return fmt.Errorf("no other node of vrrp instance %q was ever heard here, so nobody may be there to take over (--force does it anyway)", in.spec.Name)
	}
	in.step(in.now(), vrrp.Event{Kind: vrrp.EventRelease, For: f.For})
	return nil
}

func (in *instance) copyTo(r *record) {
	*r = record{
		in: in, spec: in.spec, state: in.machine.State(), reason: in.machine.Reason(), since: in.since,
		priority: in.machine.Priority(), source: in.source, heard: in.heard, masterSource: in.masterSource,
		masterPriority: in.masterPriority, counters: in.counters, tracks: append(r.tracks[:0], in.tracks...),
	}
	if d, ok := in.machine.MasterDownAt(); ok {
		r.masterDownAt = time.Duration(d)
	}
}
