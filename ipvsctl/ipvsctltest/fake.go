package ipvsctltest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/ipvsctl"
)

// Fake is a kernel in memory. It gives the errors that Linux 6.12 gives
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_sync.c), and those it is told to.
// Its methods may be called from any goroutine.
type Fake struct {
	mu         sync.Mutex
	table      ipvsctl.Table
	stats      map[ipvsctl.ServiceKey]ipvsctl.EntryStats
	daemons    []ipvsctl.Daemon
	timeouts   ipvsctl.Timeouts
	interfaces map[string]bool // nil: any name
	schedulers map[string]bool
	writes     int
	log        []ipvsctl.Op
	failures   []failure
	reads      map[string]*failure
	hook       func(ipvsctl.Op)
	closed     bool
}

type failure struct {
	kind  ipvsctl.OpKind
	err   error
	times int
}

// NewFake is an empty kernel with every scheduler, in which each interface exists.
func NewFake() *Fake {
	f := &Fake{
		table:      ipvsctl.Table{},
		stats:      map[ipvsctl.ServiceKey]ipvsctl.EntryStats{},
		timeouts:   ipvsctl.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute},
		schedulers: map[string]bool{},
		reads:      map[string]*failure{},
	}
	for _, s := range []string{"rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos", "none"} {
		f.schedulers[s] = true
	}
	return f
}

// SetInterfaces names the interfaces that exist.
func (f *Fake) SetInterfaces(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interfaces = map[string]bool{}
	for _, n := range names {
		f.interfaces[n] = true
	}
}

// SetSchedulers names the schedulers that the kernel has.
func (f *Fake) SetSchedulers(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.schedulers = map[string]bool{}
	for _, n := range names {
		f.schedulers[n] = true
	}
}

// Fail makes the next times changes of a kind fail with err (an errno), and
// change nothing. Kind 0 is any kind. 0 times takes earlier calls for the kind back.
func (f *Fake) Fail(kind ipvsctl.OpKind, err error, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if times <= 0 {
		f.failures = slices.DeleteFunc(f.failures, func(x failure) bool { return x.kind == kind })
		return
	}
	f.failures = append(f.failures, failure{kind, err, times})
}

// FailRead makes the next times calls of a reading method fail: Dump, Stats,
// Daemons, Timeouts, ReadService, Info, Zero.
func (f *Fake) FailRead(method string, err error, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads[method] = &failure{err: err, times: times}
}

// Hook is called before each change, outside the lock: to look at the table
// between two, or to change it behind the caller's back. nil for none.
func (f *Fake) Hook(h func(ipvsctl.Op)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = h
}

// Writes counts changes that were asked for, refused ones too.
func (f *Fake) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// Ops lists the changes that were made, oldest first.
func (f *Fake) Ops() []ipvsctl.Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// SetStats sets the counters of a service and its servers; Weight is not taken from it.
func (f *Fake) SetStats(k ipvsctl.ServiceKey, s ipvsctl.EntryStats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats[k] = s
}

// Tamper makes changes as another program would: not counted, not made to
// fail. It returns the first error.
func (f *Fake) Tamper(ops ...ipvsctl.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range ops {
		if err := f.do(o); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fake) readFailure(method string) error {
	if f.closed {
		return unix.EBADF
	}
	if x := f.reads[method]; x != nil && x.times > 0 {
		x.times--
		return x.err
	}
	return nil
}

// Dump copies the table.
func (f *Fake) Dump(ctx context.Context) (ipvsctl.Table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("Dump")); err != nil {
		return nil, err
	}
	return f.table.Clone(), nil
}

// DumpSteps is Dump, a service a step.
func (f *Fake) DumpSteps(ctx context.Context, between func(ipvsctl.Table)) (ipvsctl.Table, error) {
	f.mu.Lock()
	err := cmpErr(ctx.Err(), f.readFailure("Dump"))
	keys := slices.SortedFunc(maps.Keys(f.table), ipvsctl.ServiceKey.Compare)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t := ipvsctl.Table{}
	for i, k := range keys {
		if i > 0 {
			between(t)
		}
		f.mu.Lock()
		if e, ok := f.table[k]; ok {
			t[k] = e.Clone()
		}
		f.mu.Unlock()
	}
	return t, nil
}

// ReadService copies one service.
func (f *Fake) ReadService(ctx context.Context, k ipvsctl.ServiceKey) (ipvsctl.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("ReadService")); err != nil {
		return ipvsctl.Entry{}, err
	}
	e, ok := f.table[k]
	if !ok {
		return ipvsctl.Entry{}, unix.ESRCH
	}
	return e.Clone(), nil
}

// Stats gives what SetStats set, for what is in the table.
func (f *Fake) Stats(ctx context.Context) (map[ipvsctl.ServiceKey]ipvsctl.EntryStats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("Stats")); err != nil {
		return nil, err
	}
	out := make(map[ipvsctl.ServiceKey]ipvsctl.EntryStats, len(f.table))
	for k, e := range f.table {
		s := ipvsctl.EntryStats{Counters: f.stats[k].Counters, Servers: map[ipvsctl.ServerKey]ipvsctl.ServerStats{}}
		for sk, srv := range e.Servers {
			x := f.stats[k].Servers[sk]
			x.Weight = srv.Weight
			s.Servers[sk] = x
		}
		out[k] = s
	}
	return out, nil
}

// Zero forgets the counters of one service, or of all for nil.
func (f *Fake) Zero(ctx context.Context, k *ipvsctl.ServiceKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("Zero")); err != nil {
		return err
	}
	if k == nil {
		clear(f.stats)
		return nil
	}
	if _, ok := f.table[*k]; !ok {
		return unix.ESRCH
	}
	delete(f.stats, *k)
	return nil
}

// Info tells version 1.2.1 and 4096 hash buckets.
func (f *Fake) Info(ctx context.Context) (ipvsctl.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("Info")); err != nil {
		return ipvsctl.Info{}, err
	}
	return ipvsctl.Info{Version: "1.2.1", ConnTableSize: 4096}, nil
}

// Daemons lists the running ones.
func (f *Fake) Daemons(ctx context.Context) ([]ipvsctl.Daemon, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("Daemons")); err != nil {
		return nil, err
	}
	return slices.Clone(f.daemons), nil
}

// Timeouts tells the connection timeouts.
func (f *Fake) Timeouts(ctx context.Context) (ipvsctl.Timeouts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := cmpErr(ctx.Err(), f.readFailure("Timeouts")); err != nil {
		return ipvsctl.Timeouts{}, err
	}
	return f.timeouts, nil
}

// Close ends the handle, not the table: Reopen gives another handle.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

// Reopen makes the fake usable again after Close, as a new handle would be.
func (f *Fake) Reopen() *Fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = false
	return f
}

// Apply makes the changes one after the other.
func (f *Fake) Apply(ctx context.Context, ops []ipvsctl.Op) []error {
	errs := make([]error, len(ops))
	for i, o := range ops {
		f.mu.Lock()
		h := f.hook
		f.mu.Unlock()
		if h != nil {
			h(o)
		}
		errs[i] = f.apply(ctx, o)
	}
	return errs
}

func (f *Fake) apply(ctx context.Context, o ipvsctl.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.closed {
		return unix.EBADF
	}
	f.writes++
	for i := range f.failures {
		if x := &f.failures[i]; x.times > 0 && (x.kind == 0 || x.kind == o.Kind) {
			x.times--
			return x.err
		}
	}
	if err := f.do(o); err != nil {
		return err
	}
	f.log = append(f.log, o)
	return nil
}

func (f *Fake) do(o ipvsctl.Op) error {
	switch o.Kind {
	case ipvsctl.AddService, ipvsctl.SetService, ipvsctl.DeleteService:
		return f.service(o)
	case ipvsctl.AddServer, ipvsctl.SetServer, ipvsctl.DeleteServer:
		return f.server(o)
	case ipvsctl.StartDaemon, ipvsctl.StopDaemon:
		return f.daemon(o)
	case ipvsctl.SetTimeouts:
		return f.setTimeouts(o.Timeouts)
	}
	return unix.EINVAL
}

func (f *Fake) service(o ipvsctl.Op) error {
	s := o.Service.Canonical()
	k := s.Key
	if k.Family != 4 && k.Family != 6 {
		return unix.EAFNOSUPPORT
	}
	if k.FWMark == 0 && (!k.Addr.IsValid() || k.Addr.Is4() != (k.Family == 4)) || k.FWMark != 0 && k.Addr.IsValid() {
		return unix.EINVAL
	}
	_, there := f.table[k]
	switch {
	case o.Kind == ipvsctl.AddService && there:
		return unix.EEXIST
	case o.Kind != ipvsctl.AddService && !there:
		return unix.ESRCH
	case o.Kind == ipvsctl.DeleteService:
	case !f.schedulers[s.Scheduler], s.PEName != "" && s.PEName != "sip":
		return unix.ENOENT
	case k.Family == 6 && s.PersistPrefix > 128 || k.Family == 4 && s.PersistPrefix > 32:
		return unix.EINVAL
	}
	o.Service = s
	f.table.Patch(o)
	if o.Kind == ipvsctl.DeleteService {
		delete(f.stats, k)
	}
	return nil
}

func (f *Fake) server(o ipvsctl.Op) error {
	e, ok := f.table[o.Service.Key]
	if !ok {
		return unix.ESRCH
	}
	s := o.Server
	if !s.Key.Addr.IsValid() {
		return unix.EINVAL
	}
	_, there := e.Servers[s.Key]
	if o.Kind == ipvsctl.DeleteServer {
		if !there {
			return unix.ENOENT
		}
		f.table.Patch(o)
		return nil
	}
	mixed := s.Key.Addr.Is4() != (o.Service.Key.Family == 4)
	switch {
	case mixed && (len(f.daemons) > 0 || s.Forward != ipvsctl.Tunnel):
		return unix.EINVAL
	case s.Weight > 1<<31-1, s.Lower > s.Upper:
		return unix.ERANGE
	case s.TunnelType == ipvsctl.GUE && s.TunnelPort == 0:
		return unix.EINVAL
	case o.Kind == ipvsctl.AddServer && there:
		return unix.EEXIST
	case o.Kind == ipvsctl.SetServer && !there:
		return unix.ENOENT
	case o.Kind == ipvsctl.AddServer && !unicast(s.Key.Addr):
		return unix.EINVAL
	}
	f.table.Patch(o)
	return nil
}

// unicast is what ip_vs_new_dest takes where no interface has the address.
func unicast(a netip.Addr) bool {
	if a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	return a.Is4() || !a.IsLinkLocalUnicast()
}

func (f *Fake) daemon(o ipvsctl.Op) error {
	d := o.Daemon
	at := slices.IndexFunc(f.daemons, func(x ipvsctl.Daemon) bool { return x.Role == d.Role })
	if d.Role != ipvsctl.RoleMaster && d.Role != ipvsctl.RoleBackup {
		return unix.EINVAL
	}
	if o.Kind == ipvsctl.StopDaemon {
		if at < 0 {
			return unix.ESRCH
		}
		f.daemons = slices.Delete(slices.Clone(f.daemons), at, at+1)
		return nil
	}
	switch {
	case d.Group.IsValid() && !d.Group.IsMulticast(), f.mixed():
		return unix.EINVAL
	case f.interfaces != nil && !f.interfaces[d.Interface]:
		return unix.ENODEV
	case at >= 0:
		return unix.EEXIST
	}
	if !d.Group.IsValid() {
		d.Group = netip.AddrFrom4([4]byte{224, 0, 0, 81})
	}
	head := 28
	if d.Group.Is6() {
		head = 48
	}
	if d.MaxLen == 0 {
		d.MaxLen = uint16(1500 - head)
	} else if d.MaxLen = min(d.MaxLen, uint16(65535-head)); d.Role == ipvsctl.RoleBackup {
		d.MaxLen = max(d.MaxLen, 1024)
	}
	if d.Port == 0 {
		d.Port = 8848
	}
	if d.TTL == 0 {
		d.TTL = 1
	}
	f.daemons = append(slices.Clone(f.daemons), d)
	slices.SortFunc(f.daemons, func(a, b ipvsctl.Daemon) int { return int(a.Role) - int(b.Role) })
	return nil
}

func (f *Fake) mixed() bool {
	for k, e := range f.table {
		for sk := range maps.Keys(e.Servers) {
			if sk.Addr.Is4() != (k.Family == 4) {
				return true
			}
		}
	}
	return false
}

func (f *Fake) setTimeouts(t ipvsctl.Timeouts) error {
	const most = (1<<31 - 1) / 250 * time.Second // INT_MAX / HZ
	for _, d := range []time.Duration{t.TCP, t.TCPFin, t.UDP} {
		if d < 0 || d > most {
			return unix.EINVAL
		}
	}
	for _, x := range []struct {
		to *time.Duration
		d  time.Duration
	}{{&f.timeouts.TCP, t.TCP}, {&f.timeouts.TCPFin, t.TCPFin}, {&f.timeouts.UDP, t.UDP}} {
		if s := x.d.Truncate(time.Second); s != 0 {
			*x.to = s
		}
	}
	return nil
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
