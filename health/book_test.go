package health

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The heap gives every entry in order, whatever was moved and dropped.
func TestHeapProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook("")
		var all []*check
		at := map[*check]int64{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			when := rapid.Int64Range(0, 50).Draw(t, "at")
			switch op := rapid.IntRange(0, 3).Draw(t, "op"); {
			case op < 2 || len(all) == 0:
				c := &check{index: -1}
				all = append(all, c)
				b.place(c, when)
				at[c] = when
			case op == 2:
				c := rapid.SampledFrom(all).Draw(t, "moved")
				b.place(c, when)
				at[c] = when
			default:
				c := rapid.SampledFrom(all).Draw(t, "dropped")
				b.drop(c)
				delete(at, c)
			}
		}
		var want []int64
		for _, v := range at {
			want = append(want, v)
		}
		slices.Sort(want)
		for _, w := range want {
			c := b.due(50)
			if c == nil || c.at != w || at[c] != w || b.heap[c.index] != c {
				t.Fatalf("got %+v, want %d", c, w)
			}
			b.drop(c)
		}
		if b.due(1<<60) != nil {
			t.Fatal("entries left")
		}
	})
}

// What was judged before the clock was set keeps its time, what comes after has the new one.
func TestClockSet(t *testing.T) {
	b := newBook("")
	s := spec(time.Second, time.Second)
	b.apply([]Spec{s}, []Key{s.Key()}, 1000*ms)
	c := b.checks[s.Key()]
	b.begin(c, c.at)
	ch, changed := b.finish(c, nil, c.at)
	first := ch.At
	if !changed || first.UnixNano() != c.plan-1000*ms && first.IsZero() {
		t.Fatalf("%+v", ch)
	}
	b.drift = int64(time.Hour)
	b.begin(c, c.at)
	b.finish(c, nil, 3000*ms)
	if st := c.status(); !st.Since.Equal(first) || !st.LastAt.Equal(time.Unix(0, 3000*ms).Add(time.Hour)) {
		t.Errorf("since %v, last %v", st.Since, st.LastAt)
	}
}

// A deadline is set from the real start, lateness is counted, and a result
// that comes when nothing runs counts nowhere.
func TestBookkeeping(t *testing.T) {
	b := newBook("")
	s := spec(time.Second, 300*time.Millisecond)
	b.apply([]Spec{s}, []Key{s.Key()}, 0)
	c := b.checks[s.Key()]
	late := c.at + 20*ms
	b.begin(c, late)
	if c.at != roundUp(late+300*ms, tick(300*ms)) || b.running != 1 || b.lag.Snapshot().Sum != 0.02 {
		t.Errorf("deadline %d ms, running %d, lag %v", c.at/ms, b.running, b.lag.Snapshot().Sum)
	}
	if _, changed := b.expire(c, failTimeout, c.at); !changed || c.verdict.State != Down || b.running != 0 || b.due(1<<60) != nil {
		t.Errorf("expired: %+v", c)
	}
	if _, changed := b.finish(c, nil, c.at); changed || c.ok != 0 {
		t.Error("a result after the deadline counts")
	}
	b.released(c, 2000*ms)
	if b.due(1<<60) != c {
		t.Error("not planned after it was let go")
	}
	dropped := b.apply(nil, nil, 0)
	if len(dropped) != 0 || len(b.heap) != 0 || c.stage != gone {
		t.Errorf("dropped %v, heap %v", dropped, b.heap)
	}
	b.released(c, 0)
	if _, changed := b.finish(c, nil, 0); changed || len(b.heap) != 0 {
		t.Error("a removed check lives")
	}
}
