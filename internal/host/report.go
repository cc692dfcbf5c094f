package host

// report collects what a pass finds wrong, in a fixed order.
type report []complaint

// complaint about one subject: a setting, the table.
type complaint struct{ subject, text string }

func (r *report) add(subject, text string) { *r = append(*r, complaint{subject, text}) }

func (r report) texts() []string {
	var out []string
	for _, c := range r {
		out = append(out, c.text)
	}
	return out
}

// tell logs what is new in a report, and what is over. What goes on is not said twice.
func (k *Keeper) tell(r *report) {
	now := make(map[string]string, len(*r))
	for _, c := range *r {
		if k.told[c.subject] != c.text {
			k.log.Warn(c.text, "event", "host_finding", "subject", c.subject)
		}
		now[c.subject] = c.text
	}
	for subject := range k.told {
		if now[subject] == "" {
			k.log.Info("as it should be again", "event", "host_finding_over", "subject", subject)
		}
	}
	k.told = now
}
