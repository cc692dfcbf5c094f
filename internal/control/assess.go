package control

import (
	"fmt"
	"slices"
	"strings"
)

// assess fills State and Problems from the rest of the document and the
// warnings that the director has itself.
func (d *Document) assess(warnings []string) {
	var down, degraded []string
	if d.Speaker == nil {
		down = append(down, "the speaker process has not answered: roles are not known")
	}
	if d.Kernel.Used && !d.Kernel.Up {
		down = append(down, "the kernel's IPVS table cannot be read"+because(d.Kernel.Error))
	}
	for i := range d.Services {
		s := &d.Services[i]
		switch s.State {
		case StateDown:
			down = append(down, fmt.Sprintf("service %s is down: weight %d, needs %d", s.Name, s.HealthyWeight, s.QuorumWeight))
		case StateDegraded:
			// What the floor does the director tells itself.
			if names := downServers(s); len(names) > 0 {
				degraded = append(degraded, fmt.Sprintf("service %s runs without %s", s.Name, strings.Join(names, ", ")))
			}
		case StatePending:
			degraded = append(degraded, fmt.Sprintf("service %s waits for the first results of its checks", s.Name))
		case StateOK:
		}
		if s.State != StateDown && d.Kernel.Used && d.Kernel.Up && !s.KernelPresent {
			degraded = append(degraded, fmt.Sprintf("service %s is not in the kernel's table as configured", s.Name))
		}
	}
	for i := range d.VRRP {
		degraded = append(degraded, d.VRRP[i].problems()...)
	}
	if y := d.Sync; y != nil && y.BehindSince != nil {
		degraded = append(degraded, fmt.Sprintf("the connection sync daemon runs as %s, not in the role of %s",
			orNothing(y.Running), y.Follow))
	}
	if !d.Config.LastOK {
		degraded = append(degraded, "the last reload was refused, the configuration before it is in force"+because(d.Config.LastError))
	}
	if !d.Ready {
		degraded = append(degraded, "not ready: until every service is judged and applied this director does not preempt")
	}
	d.Problems = append(append([]string{}, down...), degraded...)
	for _, w := range warnings {
		if !d.covered(w) {
			d.Problems = append(d.Problems, w)
		}
	}
	switch {
	case len(down) > 0:
		d.State = StateDown
	case len(d.Problems) > 0:
		d.State = StateDegraded
	default:
		d.State = StateOK
	}
}

// covered tells whether a warning only repeats an error that is told already.
func (d *Document) covered(w string) bool {
	return slices.ContainsFunc([]string{d.Kernel.Error, d.Config.LastError}, func(e string) bool { return e != "" && strings.HasSuffix(w, e) })
}

// problems of one instance.
func (v *VRRP) problems() []string {
	var out []string
	switch v.State {
	case "init":
		out = append(out, fmt.Sprintf("vrrp %s does not take part yet%s", v.Name, because(v.Reason)))
	case "fault":
		out = append(out, fmt.Sprintf("vrrp %s is in fault%s", v.Name, because(v.Reason)))
	}
	for _, a := range v.Addresses {
		switch {
		case v.State == "master" && !a.Present:
			out = append(out, fmt.Sprintf("vrrp %s is master, but %s is not on %s", v.Name, a.Address, a.Interface))
		case (v.State == "backup" || v.State == "fault") && a.Present:
			out = append(out, fmt.Sprintf("vrrp %s is %s, but %s is still on %s", v.Name, v.State, a.Address, a.Interface))
		}
	}
	for _, t := range v.Tracks {
		if !t.Up {
			out = append(out, fmt.Sprintf("vrrp %s: tracked %s is down", v.Name, t.Name))
		}
	}
	return out
}

// downServers names the servers that failed, a single one with the reason.
func downServers(s *Service) []string {
	var names []string
	why := ""
	for i := range s.Servers {
		if s.Servers[i].State == "down" {
			names, why = append(names, s.Servers[i].Name), s.Servers[i].Why
		}
	}
	if len(names) == 1 && why != "" {
		names[0] += " (" + why + ")"
	}
	const most = 3
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("%d more", n-most))
	}
	return names
}

// because adds a reason. Of several lines the first must do: a problem is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	first, rest, more := strings.Cut(strings.TrimSpace(reason), "\n")
	if more {
		first += fmt.Sprintf(" (and %d more lines)", strings.Count(rest, "\n")+1)
	}
	return ": " + first
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, " and ")
}
