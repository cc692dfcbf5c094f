package e2e

import "fmt"

// floorModel says which servers min_healthy may keep in service. Whom among
// several that serve as well is the program's choice: the model knows what any
// choice must keep to.
type floorModel struct {
	want   int // weight that is to stay in service
	base   int // that is without it
	spares map[string]spare
}

// spare is a server that the floor may raise.
type spare struct {
	options string // as ipvsadm writes it then
	gain    int
	// refuses: nobody listens there. soft: it is at least not known to refuse.
	refuses, soft bool
}

// floor of a service. Servers that people have taken out by force, that are in
// maintenance or disabled are not called back.
func (m *model) floor(d *directorModel, s *chaosService) *floorModel {
	if s.floor == 0 {
		return nil
	}
	f := &floorModel{spares: map[string]spare{}}
	for _, v := range s.servers {
		if v.disabled {
			continue
		}
		f.want += v.weight
		srv, o := m.servers[v.index], d.order(s, v.index)
		x := spare{options: s.server(v.weight), gain: v.weight}
		switch passes := srv.passes(s.check); {
		case o.mode == "maintenance", passes && o.mode == "drain" && o.modeForced, !passes && o.mode != "":
			continue
		case passes:
			have := d.weightOf(s, v)
			f.base += have
			x.gain -= have
			if o.mode == "" && o.weightForced || x.gain <= 0 {
				continue
			}
			x.soft = true
		default:
			// A silent one may become unreachable, which counts as refusing.
			x.refuses, x.soft = !srv.running && !d.deaf, srv.running && !srv.muted && !d.deaf
		}
		f.spares[s.address(v.index)] = x
	}
	f.want = (f.want*s.floor + 99) / 100
	return f
}

// raised tells whether a server is what the floor may make of it.
func (f *floorModel) raised(at, options string) bool {
	if f == nil {
		return false
	}
	x, ok := f.spares[at]
	return ok && x.options == options
}

// kept tells how a table that is right without the floor, but for raised
// servers, is not what the floor asks for; "" if it is.
func (f *floorModel) kept(servers map[string]string) string {
	if f == nil {
		return ""
	}
	serving, better, rest := f.base, f.base, 0
	for at, x := range f.spares {
		switch {
		case servers[at] == x.options:
			serving += x.gain
		default:
			rest++
		}
		if x.soft {
			better += x.gain
		}
	}
	if serving < f.want && rest > 0 {
		return fmt.Sprintf("serves with weight %d, min_healthy asks for %d, and %d servers are spare", serving, f.want, rest)
	}
	for at, x := range f.spares {
		if servers[at] != x.options {
			continue
		}
		if serving-x.gain >= f.want {
			return fmt.Sprintf("keeps %s without need: weight %d, min_healthy asks for %d", at, serving, f.want)
		}
		if x.refuses && better >= f.want {
			return fmt.Sprintf("keeps %s, where nobody listens, and others would do", at)
		}
	}
	return ""
}
