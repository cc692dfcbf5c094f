package ipvsctl

import (
	"slices"
)

// Patch changes the table as the kernel would by the operation, without its
// checks. Operations on daemons and timeouts leave it alone. The servers map
// of a touched service is changed in place.
func (t Table) Patch(o Op) {
	k := o.Service.Key
	switch o.Kind {
	case AddService:
		t[k] = Entry{o.Service, map[ServerKey]Server{}}
	case SetService:
		e := t[k]
		e.Service = o.Service
		if e.Servers == nil {
			e.Servers = map[ServerKey]Server{}
		}
		t[k] = e
	case DeleteService:
		delete(t, k)
	case AddServer, SetServer:
		if e, ok := t[k]; ok {
			if e.Servers == nil {
				e.Servers = map[ServerKey]Server{}
				t[k] = e
			}
			e.Servers[o.Server.Key] = o.Server
		}
	case DeleteServer:
		delete(t[k].Servers, o.Server.Key)
	case StartDaemon, StopDaemon, SetTimeouts:
	}
}

// patchDaemons is Patch for the sync daemons.
func patchDaemons(d []Daemon, o Op) []Daemon {
	switch o.Kind {
	case StartDaemon:
		return append(slices.Clone(d), o.Daemon.asKernel())
	case StopDaemon:
		return slices.DeleteFunc(slices.Clone(d), func(x Daemon) bool { return x.Role == o.Daemon.Role })
	}
	return d
}

// patchTimeouts is Patch for the timeouts.
func patchTimeouts(t Timeouts, o Op) Timeouts {
	if o.Kind != SetTimeouts {
		return t
	}
	if o.Timeouts.TCP != 0 {
		t.TCP = o.Timeouts.TCP
	}
	if o.Timeouts.TCPFin != 0 {
		t.TCPFin = o.Timeouts.TCPFin
	}
	if o.Timeouts.UDP != 0 {
		t.UDP = o.Timeouts.UDP
	}
	return t
}
