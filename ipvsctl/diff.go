package ipvsctl

import (
	"slices"
	"time"
)

// Diff lists the changes that make have what goal wants, in the order in which
// they are to be sent. It is pure; a diff of its own result is empty.
//
// No server pool is empty at any moment between if it has a server with weight
// before and after: what gains weight comes first, what loses it later, what
// goes last. Services come before services that go. Everything but the key of
// a service or server is edited in place, as the kernel can
// (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_edit_service, ip_vs_edit_dest); a new
// key is another object. Nothing is deleted but owned services and servers
// within a service of the goal.
func Diff(have Table, goal Goal) []Op {
	var ops []Op
	var todo []ServiceKey
	for k, want := range goal.Table {
		h, ok := have[k]
		if !ok || !same(h, want, goal.Keep[k]) {
			todo = append(todo, k)
		}
	}
	slices.SortFunc(todo, ServiceKey.Compare)
	for _, k := range todo {
		h, ok := have[k]
		ops = diffService(ops, k, h, ok, goal.Table[k], goal.Keep[k])
	}
	var gone []ServiceKey
	for k, mine := range goal.Owned {
		if _, wanted := goal.Table[k]; !mine || wanted {
			continue
		}
		if _, there := have[k]; there {
			gone = append(gone, k)
		}
	}
	slices.SortFunc(gone, ServiceKey.Compare)
	for _, k := range gone {
		// One change takes the service and its servers away together.
		ops = append(ops, Op{Kind: DeleteService, Service: Service{Key: k}})
	}
	return ops
}

// DiffUnmanaged lists what an exclusive goal deletes beyond Diff, to be sent
// after it: services that are neither in the goal nor owned.
func DiffUnmanaged(have Table, goal Goal) []Op {
	if !goal.Exclusive {
		return nil
	}
	var ops []Op
	for k := range have {
		if _, wanted := goal.Table[k]; !wanted && !goal.Owned[k] {
			ops = append(ops, Op{Kind: DeleteService, Service: Service{Key: k}})
		}
	}
	slices.SortFunc(ops, func(a, b Op) int { return a.Service.Key.Compare(b.Service.Key) })
	return ops
}

// same says whether nothing is to be done. It allocates nothing: it runs for
// each service in each pass.
func same(h, want Entry, keep map[ServerKey]bool) bool {
	if h.Service.Canonical() != canonical(want.Service, h.Service.Key) || len(h.Servers) != len(want.Servers) {
		return false
	}
	for sk, s := range want.Servers {
		hs, ok := h.Servers[sk]
		if !ok {
			return false
		}
		if hs != s && hs != wanted(sk, s, hs, true, keep) {
			return false
		}
	}
	return true
}

func canonical(s Service, k ServiceKey) Service {
	s.Key = k
	return s.Canonical()
}

// wanted is the server as it shall be, given what the kernel has.
func wanted(sk ServerKey, s, have Server, there bool, keep map[ServerKey]bool) Server {
	s.Key = sk
	if there && keep[sk] {
		s.Weight = have.Weight
	}
	if s.Forward != Tunnel {
		// The kernel stores these for any server; they mean nothing here.
		s.TunnelType, s.TunnelPort, s.TunnelFlags = 0, 0, 0
	}
	return s
}

func diffService(ops []Op, k ServiceKey, have Entry, there bool, want Entry, keep map[ServerKey]bool) []Op {
	svc := canonical(want.Service, k)
	switch {
	case !there:
		ops = append(ops, Op{Kind: AddService, Service: svc})
	case have.Service.Canonical() != svc:
		ops = append(ops, Op{Kind: SetService, Service: svc})
	}
	return diffServers(ops, svc, have, want, keep, nil)
}

// diffServers compares the servers of one service; only those that are named,
// if names is not nil.
func diffServers(ops []Op, svc Service, have, want Entry, keep map[ServerKey]bool, names []ServerKey) []Op {
	// Four ranks: gains weight, keeps it, loses it, goes.
	var up, mid, down, gone []Op
	consider := func(sk ServerKey) {
		h, there := have.Servers[sk]
		w, wantIt := want.Servers[sk]
		if !wantIt {
			if there {
				if h.Weight > 0 {
					h.Weight = 0
					down = append(down, Op{Kind: SetServer, Service: svc, Server: h})
				}
				gone = append(gone, Op{Kind: DeleteServer, Service: svc, Server: h})
			}
			return
		}
		w = wanted(sk, w, h, there, keep)
		switch {
		case !there && w.Weight > 0:
			up = append(up, Op{Kind: AddServer, Service: svc, Server: w})
		case !there:
			mid = append(mid, Op{Kind: AddServer, Service: svc, Server: w})
		case h == w:
		case h.Weight == 0 && w.Weight > 0:
			up = append(up, Op{Kind: SetServer, Service: svc, Server: w})
		case h.Weight > 0 && w.Weight == 0:
			down = append(down, Op{Kind: SetServer, Service: svc, Server: w})
		default:
			mid = append(mid, Op{Kind: SetServer, Service: svc, Server: w})
		}
	}
	if names != nil {
		for _, sk := range names {
			consider(sk)
		}
	} else {
		for sk := range want.Servers {
			consider(sk)
		}
		for sk := range have.Servers {
			if _, wantIt := want.Servers[sk]; !wantIt {
				consider(sk)
			}
		}
	}
	for _, rank := range [][]Op{up, mid, down, gone} {
		slices.SortFunc(rank, func(a, b Op) int { return a.Server.Key.Compare(b.Server.Key) })
		ops = append(ops, rank...)
	}
	return ops
}

// DiffDaemons lists the changes for the sync daemons, in two parts: stop must
// be sent before the table's changes, start after them, because the kernel
// takes no server of another address family while a daemon runs, and starts no
// daemon while there is one (ip_vs_genl_set_cmd, ip_vs_genl_new_daemon). A
// daemon cannot be edited; one with other attributes is stopped and started.
func DiffDaemons(have []Daemon, goal Goal) (stop, start []Op) {
	if !goal.ManageDaemons {
		return nil, nil
	}
	for _, h := range have {
		if i := slices.IndexFunc(goal.Daemons, func(w Daemon) bool { return w.Role == h.Role }); i < 0 {
			stop = append(stop, Op{Kind: StopDaemon, Daemon: h})
		} else if !goal.Daemons[i].matches(h) {
			// The gap between is short if both are sent together.
			start = append(start, Op{Kind: StopDaemon, Daemon: h})
		}
	}
	for _, w := range goal.Daemons {
		if !slices.ContainsFunc(have, w.matches) {
			start = append(start, Op{Kind: StartDaemon, Daemon: w})
		}
	}
	return stop, start
}

// matches says whether a running daemon is the wanted one. Zero fields are not compared.
func (d Daemon) matches(running Daemon) bool {
	w := d.asKernel()
	return w.Role == running.Role && w.Interface == running.Interface && w.ID == running.ID &&
		(w.MaxLen == 0 || w.MaxLen == running.MaxLen) &&
		(!w.Group.IsValid() || w.Group == running.Group) &&
		(w.Port == 0 || w.Port == running.Port) &&
		(w.TTL == 0 || w.TTL == running.TTL)
}

// asKernel is the daemon as it will read back: a length out of range is put
// into range without a word (net/netfilter/ipvs/ip_vs_sync.c, start_sync_thread).
func (d Daemon) asKernel() Daemon {
	d.Group = d.Group.Unmap()
	if d.MaxLen != 0 {
		top := uint16(65535 - 20 - 8)
		if d.Group.Is6() {
			top = 65535 - 40 - 8
		}
		d.MaxLen = min(d.MaxLen, top)
		if d.Role == RoleBackup {
			d.MaxLen = max(d.MaxLen, 1024)
		}
	}
	return d
}

// DiffTimeouts lists the change of the connection timeouts: none or one. Only
// what is wanted (not 0) and differs is sent.
func DiffTimeouts(have, want Timeouts) []Op {
	var t Timeouts
	for _, x := range []struct{ have, want, out *time.Duration }{
		{&have.TCP, &want.TCP, &t.TCP}, {&have.TCPFin, &want.TCPFin, &t.TCPFin}, {&have.UDP, &want.UDP, &t.UDP},
	} {
		// The kernel counts whole seconds, and takes 0 for no change.
		want := *x.want
		if want > 0 {
			want = max(want.Truncate(time.Second), time.Second)
		}
		if want != 0 && want != *x.have {
			*x.out = want
		}
	}
	if t == (Timeouts{}) {
		return nil
	}
	return []Op{{Kind: SetTimeouts, Timeouts: t}}
}
