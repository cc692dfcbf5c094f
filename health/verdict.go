package health

// Verdict is what the results so far say of a server. It is a value; the zero
// value has seen nothing.
type Verdict struct {
	State State
	// Streak counts equal results in a row: positive successes, negative failures.
	Streak int
	// Hard, while State is Down: the failures that decided were of that kind (see Reason.Hard).
	Hard bool
	// turned counts failures in a row that are of the other kind than Hard says.
	turned int
}

const maxStreak = 1 << 30 // counts no further

// Next is the verdict after one more result: f is nil for a success. rise
// successes in a row make up, fall failures in a row make down; the first
// verdict needs one result. A failure of this machine (ReasonInternal) changes
// nothing: neither state nor streak. A server that is down fails in another
// kind only after fall failures of that kind in a row.
func (v Verdict) Next(f *Failure, rise, fall int) Verdict {
	switch {
	case f == nil:
		v.turned = 0
		v.Streak = min(max(v.Streak, 0)+1, maxStreak)
		if v.State == Unknown || v.State == Down && v.Streak >= rise {
			v.State = Up
		}
	case f.Reason == ReasonInternal:
	default:
		v.Streak = max(min(v.Streak, 0)-1, -maxStreak)
		switch hard := f.Reason.Hard(); {
		case v.State == Unknown || v.State == Up && -v.Streak >= fall:
			v.State, v.Hard, v.turned = Down, hard, 0
		case v.State != Down || hard == v.Hard:
			v.turned = 0
		case v.turned+1 >= fall:
			v.Hard, v.turned = hard, 0
		default:
			v.turned++
		}
	}
	return v
}

// InDoubt tells that the latest results contradict the state, and more of them
// would change it.
func (v Verdict) InDoubt() bool {
	return v.State == Up && v.Streak < 0 || v.State == Down && v.Streak > 0
}
