package director

import "lvs-ha/health"

// combineAny is combine where one check that passes is enough: the server is
// up since the first of those that pass, and down since the last one failed. A
// check without a verdict may still pass.
func combineAny(s *State, srv *TopologyServer) (Verdict, string) {
	var out Verdict
	name := ""
	for i, k := range srv.Keys {
		v, check := s.Verdicts[k], srv.Conf.Checks[i].Name
		switch {
		case i == 0:
			out, name = v, check
		case v.State == health.Up && out.State == health.Up:
			advice := lesser(out.Advice, v.Advice, srv.Conf.Kernel.Weight)
			if v.Since.Before(out.Since) {
				out, name = v, check
			}
			out.Advice = advice
		case out.State == health.Up:
		case v.State == health.Up:
			out, name = v, check
		case out.State == health.Unknown:
		case v.State == health.Unknown, v.Since.After(out.Since):
			out, name = v, check
		}
	}
	if out.State == health.Up {
		name = ""
	}
	return out, name
}
