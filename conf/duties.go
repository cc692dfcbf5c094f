package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"lvs-ha/health"
	"lvs-ha/vrrp"
)

// Duties are what the director does for a VRRP instance beside the election.
type Duties struct {
	Notify *Notify // nil for none
	// TrackServices are bad while the quorum of the service is lost.
	TrackServices []vrrp.Track
	// TrackChecks are bad while the check fails.
	TrackChecks []TrackCheck
}

// Notify is the command that is told of changes of state.
type Notify struct {
	Argv    []string
	Timeout time.Duration
}

// TrackCheck is a tracked check with what it probes.
type TrackCheck struct {
	vrrp.Track
	Spec health.Spec
}

// duties of all instances; services and checks are known by now.
func (b *builder) duties() {
	b.out.Duties = make([]Duties, len(b.vrrp))
	for i, l := range b.vrrp {
		v := b.instanceView(l, b.node)
		d := &b.out.Duties[i]
		d.Notify = b.notify(v)
		d.TrackServices = b.tracks(v, "track_services", b.trackedService)
		for _, t := range b.tracks(v, "track_checks", b.trackedCheck) {
			tmpl := b.templates[t.Name]
			if tmpl == nil {
				continue
			}
			spec := health.Spec{Method: tmpl.method}
			if tmpl.address.IsValid() {
				spec.Target = netip.AddrPortFrom(tmpl.address, tmpl.port)
			}
			d.TrackChecks = append(d.TrackChecks, TrackCheck{t, spec})
		}
	}
}

func (b *builder) notify(v view) *Notify {
	n := &Notify{Timeout: v.duration("notify_timeout", 30*time.Second, 100*time.Millisecond, time.Hour)}
	if !v.has("notify") {
		if v.has("notify_timeout") {
			v.warn("notify_timeout", "has no effect without notify", "")
		}
		return nil
	}
	for i, t := range v.texts("notify") {
		switch {
		case i == 0 && !strings.HasPrefix(t.s, "/"):
			b.add(finding{at: t.at, what: "is no path from /", cure: "write the whole path of the program; there is no shell"})
		case strings.ContainsRune(t.s, 0):
			b.add(finding{at: t.at, what: "has a zero octet in it"})
		}
		n.Argv = append(n.Argv, t.s)
	}
	if len(n.Argv) == 0 {
		return nil // with [] a node takes away what all have
	}
	return n
}

// tracks is a list of names (FAULT while one is bad), or a table of names and
// what each adds to the priority while it is bad. usable reports a name that is none.
func (b *builder) tracks(v view, key string, usable func(name string, at *path, p part) bool) []vrrp.Track {
	x, _, ok := v.get(key)
	if !ok {
		return nil
	}
	var out []vrrp.Track
	if _, isTable := x.(map[string]any); isTable {
		t := v.sub(key)
		seen := map[string]bool{}
		for i := len(t.layers) - 1; i >= 0; i-- {
			for name := range t.layers[i].m {
				if seen[name] {
					continue
				}
				seen[name] = true
				if usable(name, t.layers[i].at.child(name), atKey) {
					out = append(out, vrrp.Track{Name: name, Delta: int(t.integer(name, 0, -253, 253))})
				}
			}
		}
		sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
		return out
	}
	seen := map[string]bool{}
	for _, t := range v.texts(key) {
		switch {
		case seen[t.s]:
			b.add(finding{at: t.at, what: "is there already", cure: "remove one of them"})
		case usable(t.s, t.at, atValue):
			out = append(out, vrrp.Track{Name: t.s})
		}
		seen[t.s] = true
	}
	return out
}

func (b *builder) trackedInterface(name string, at *path, p part) bool {
	if validInterface(name) {
		return true
	}
	b.add(finding{at: at, part: p, what: "is no name of an interface"})
	return false
}

func (b *builder) trackedService(name string, at *path, p part) bool {
	known := make([]string, len(b.out.Services))
	for i := range b.out.Services {
		known[i] = b.out.Services[i].Name
	}
	if slices.Contains(known, name) {
		return true
	}
	b.add(finding{at: at, part: p, what: "is no service", cure: didYouMean(name, known)})
	return false
}

// trackedCheck is one that knows by itself what to probe: there is no server here.
func (b *builder) trackedCheck(name string, at *path, p part) bool {
	t, ok := b.templates[name]
	if !ok {
		known := make([]string, 0, len(b.templates))
		for n := range b.templates {
			known = append(known, n)
		}
		b.add(finding{at: at, part: p, what: "is no check", cure: orElse(didYouMean(name, known), fmt.Sprintf("define it: [check.%s]", keyText(name)))})
		return false
	}
	switch typ := t.method.Type; {
	case checkKinds[string(typ)] == 0: // reported where it stands
	case typ == health.Exec || typ == health.File:
	case !t.view.has("address"):
		b.add(finding{at: at, part: p, what: "is a check that probes servers, and here is none", cure: fmt.Sprintf("give [check.%s] an address", keyText(name))})
		return false
	case needsPort(typ) && !t.view.has("port"):
		b.add(finding{at: at, part: p, what: "is a check without a port", cure: fmt.Sprintf("give [check.%s] a port", keyText(name))})
		return false
	case t.method.Source.IsValid() && t.address.IsValid() && t.method.Source.Is4() != t.address.Is4():
		b.add(finding{at: at, part: p, what: "is a check whose source is of another family than its address", cure: "use a source of that family"})
		return false
	}
	return true
}

// syncGroups warns of groups that make no sense.
func (b *builder) syncGroups() {
	for i, l := range b.vrrp {
		in := &b.out.VRRP[i]
		if in.Group == "" {
			continue
		}
		v := b.instanceView(l, b.node)
		others := 0
		for j := range b.out.VRRP {
			o := &b.out.VRRP[j]
			if j == i || o.Group != in.Group {
				continue
			}
			others++
			if j < i && o.Config.Priority != in.Config.Priority {
				v.warn("group", fmt.Sprintf("has instances of different priorities, %d here and %d in vrrp %s: where the nodes' order differs between them nobody takes over",
					in.Config.Priority, o.Config.Priority, quote(o.Name)), "give the instances of a group one priority on each node")
			}
		}
		if others == 0 {
			v.warn("group", "has no other instance", "")
		}
	}
}
