package director

import (
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"time"

	"lvs-ha/health"
)

// note compares the decision on a service with what was decided before: it
// counts and logs the changes of its servers' health, and what is true of all.
func (d *Director) note(i int, now time.Time) {
	for j := range d.top.Services[i].Servers {
		d.noteServer(i, j, now)
	}
	d.noteService(i)
}

func (d *Director) noteServer(i, j int, now time.Time) {
	svc, dec := &d.top.Services[i], d.desired.Services[i]
	srv := &dec.Servers[j]
	id := ServerID{svc.Conf.Name, svc.Servers[j].Conf.Name}
	r := d.records[id]
	if r == nil {
		r = &record{since: now}
		d.records[id] = r
	}
	d.noteAdvice(id, r, srv)
	h := healthOf(srv)
	if h == r.health {
		return
	}
	if h == health.Up {
		delete(d.gone, id)
	}
	was := r.health
	r.health, r.since = h, now
	if !srv.Since.IsZero() {
		r.since = srv.Since
	}
	switch {
	case h == health.Down:
		r.down++
		d.o.Log.Warn(fmt.Sprintf("service %s: server %s down: %s", id.Service, id.Server, srv.Why), "event", "server_down",
			"service", id.Service, "server", id.Server, "servers_up", dec.up, "servers", len(dec.Servers))
	case h == health.Up && was == health.Down:
		r.up++
		d.o.Log.Info(fmt.Sprintf("service %s: server %s up", id.Service, id.Server), "event", "server_up",
			"service", id.Service, "server", id.Server, "weight", srv.Weight, "servers_up", dec.up, "servers", len(dec.Servers))
	case h == health.Up && len(svc.Servers[j].Keys) > 0 && d.o.Log.Enabled(d.runCtx, slog.LevelDebug):
		d.o.Log.Debug(fmt.Sprintf("service %s: server %s up", id.Service, id.Server), "event", "server_up",
			"service", id.Service, "server", id.Server, "weight", srv.Weight)
	}
}

func healthOf(s *ServerDecision) health.State {
	switch s.State {
	case ServerDown:
		return health.Down
	case ServerUp:
		return health.Up
	case ServerDrain:
		switch {
		case s.Healthy:
			return health.Up
		case !s.Since.IsZero():
			return health.Down
		}
	case ServerPending, ServerMaintenance:
	}
	return health.Unknown
}

// statusLine is one line for people: roles, services, trouble.
func (d *Director) statusLine() string {
	if d.top == nil {
		return "starting"
	}
	var parts []string
	names := make([]string, 0, len(d.roles))
	for name := range d.roles {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		parts = append(parts, strings.ToUpper(d.roles[name].State.String())+" "+name)
	}
	if n := len(d.desired.Services); n > 0 {
		ok := 0
		for i := range d.desired.Services {
			if d.desired.Services[i].Up {
				ok++
			}
		}
		parts = append(parts, fmt.Sprintf("%d/%d services ok", ok, n))
	}
	if d.pause.On {
		parts = append(parts, "paused")
	}
	if d.kernel.err != "" {
		parts = append(parts, "kernel table unreadable")
	}
	if !d.config.LastOK {
		parts = append(parts, "last reload refused")
	}
	return strings.Join(parts, ", ")
}
