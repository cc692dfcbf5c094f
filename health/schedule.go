package health

import "time"

// timing is when one check runs. Instants are nanoseconds since 1970 on a
// clock that never steps (wall time when the scheduler was made, monotonic
// after that), so that a restart finds the phase again.
//
// The runs of a settled check stand on a grid: instants that leave the
// remainder phase when divided by the interval. The phase is a hash of the
// check and the node's name: checks spread evenly, a restart keeps them, and
// two directors differ.
type timing struct {
	interval, fast, down int64
	timeout              int64
	phase                int64
	jitter               float64
}

// quickSweep bounds the time until a new check has run once.
const quickSweep = int64(time.Second)

func newTiming(s Spec, key Key, seed string) timing {
	t := timing{interval: int64(s.interval()), fast: int64(s.fastInterval()), down: int64(s.downInterval()),
		timeout: int64(s.timeout()), jitter: s.jitter()}
	t.phase = int64(hash(seed, string(key)) % uint64(t.interval))
	return t
}

// hash is FNV-1a with a final mix, for FNV's low bits alone spread badly.
func hash(parts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, p := range parts {
		for i := 0; i < len(p); i++ {
			h = (h ^ uint64(p[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211 // end of part
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}

// onGrid is the first instant of the grid at or after t.
func (t timing) onGrid(at int64) int64 {
	r := (at - t.phase) % t.interval
	if r < 0 {
		r += t.interval
	}
	if r == 0 {
		return at
	}
	return at + t.interval - r
}

// first is the first run of a check that appears at now: at its place in the
// grid, or sooner where that is more than a second away, so that a director
// has judged everything soon.
func (t timing) first(now int64) int64 {
	if t.interval <= quickSweep {
		return t.onGrid(now)
	}
	return min(now+int64(float64(t.phase)/float64(t.interval)*float64(quickSweep)), t.onGrid(now))
}

// next is the planned start after a run that was planned for prev and has
// ended at ended with verdict v. Runs never overlap: if the plan has passed
// when the run ends, the next one is due at once, and instants missed on the
// way are not made up for.
func (t timing) next(v Verdict, prev, ended int64) int64 {
	var at int64
	iv := t.step(v)
	switch {
	case v.State == Unknown || v.InDoubt() || v.State == Down:
		at = prev + iv
	default:
		// Half an interval back to the grid from wherever the last run was.
		at = t.onGrid(prev + t.interval/2 + 1)
	}
	if late := ended - at; late >= iv {
		at += late / iv * iv
	}
	return at
}

// step is the interval that counts while v holds.
func (t timing) step(v Verdict) int64 {
	switch {
	case v.State == Unknown:
		return min(t.interval, quickSweep)
	case v.InDoubt():
		return t.fast
	case v.State == Down:
		return t.down
	default:
		return t.interval
	}
}

// move applies the jitter: a planned start is moved later by up to its share
// of the interval; r is random in [0,1). The plan itself does not move, so the
// jitter does not add up.
func (t timing) move(at int64, v Verdict, r float64) int64 {
	if t.jitter == 0 {
		return at
	}
	return at + int64(r*t.jitter*float64(t.step(v)))
}

// coarse is the longest tick: one wake-up serves all that falls into it.
const coarse = int64(5 * time.Millisecond)

// tick is how coarsely an instant may be rounded when waiting for d matters:
// half a percent, at most 5 ms. A check each second waits for the tick, one
// each 10 ms is not late by more than 50 µs.
func tick(d int64) int64 {
	return min(d/200, coarse)
}

// roundUp moves t up to a multiple of tick.
func roundUp(at, tick int64) int64 {
	if tick <= 1 {
		return at
	}
	if r := at % tick; r != 0 {
		return at + tick - r
	}
	return at
}
