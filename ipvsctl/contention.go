package ipvsctl

import (
	"slices"
	"time"
)

// contention counts repairs of one object. Two programs that each undo the
// other's change would do so for ever; we give way for a while and say so.
type contention struct {
	repairs         int
	within, backoff time.Duration
	objects         map[object]*contended
}

type contended struct {
	at    []time.Time // of the latest repairs, oldest first
	last  time.Time   // of the pass with the latest repair
	until time.Time   // the object stands as it is until then
	drift Drift
	wish  Op // the last change of that pass; another wish is not held back
}

func newContention(repairs int, within, backoff time.Duration) contention {
	return contention{repairs, within, backoff, make(map[object]*contended)}
}

// repaired notes one repair. It returns the number of repairs if that was the
// one after which the object is left alone, else 0.
func (c *contention) repaired(op Op, d Drift, now time.Time) int {
	if c.repairs <= 0 {
		return 0
	}
	o := refOf(op)
	x := c.objects[o]
	if x == nil {
		x = &contended{}
		c.objects[o] = x
	}
	x.drift, x.wish, x.last = d, op, now
	x.at = append(slices.DeleteFunc(x.at, func(t time.Time) bool { return now.Sub(t) > c.within }), now)
	if n := len(x.at); n >= c.repairs {
		x.at, x.until = nil, now.Add(c.backoff)
		return n
	}
	return 0
}

// done notes a change that is no repair by itself: the rest of one, or a
// decision of ours. After that somebody's change meets another wish, and a
// return to the former one is ours: it is counted anew and not held back.
func (c *contention) done(op Op, now time.Time) {
	x := c.objects[refOf(op)]
	switch {
	case x == nil:
	case x.last.Equal(now):
		x.wish = op
	case !x.until.IsZero() && !sameWish(x.wish, op):
		delete(c.objects, refOf(op))
	}
}

// stands tells whether the change is to be left out, or, if its time of being
// left out is over, the drift that it repairs.
func (c *contention) stands(op Op, now time.Time) (out bool, late Drift) {
	x := c.objects[refOf(op)]
	if x == nil || x.until.IsZero() || !sameWish(x.wish, op) {
		return false, Drift{}
	}
	if now.Before(x.until) {
		return true, Drift{}
	}
	return false, x.drift
}

// sameWish says that two changes want the same of an object, whatever they
// find it to be.
func sameWish(a, b Op) bool {
	goes := func(o Op) bool { return o.Kind == DeleteServer || o.Kind == DeleteService || o.Kind == StopDaemon }
	if goes(a) || goes(b) {
		return goes(a) == goes(b)
	}
	b.Kind = a.Kind
	return a == b
}

// standing lists what is left alone now, and forgets what is long past.
func (c *contention) standing(now time.Time) []Drift {
	var ds []Drift
	for o, x := range c.objects {
		switch {
		case now.Before(x.until):
			ds = append(ds, x.drift)
		case now.Sub(x.until) > c.within && (len(x.at) == 0 || now.Sub(x.at[len(x.at)-1]) > c.within):
			delete(c.objects, o)
		}
	}
	slices.SortFunc(ds, func(a, b Drift) int {
		if n := a.Service.Compare(b.Service); n != 0 {
			return n
		}
		return a.Server.Compare(b.Server)
	})
	return ds
}
