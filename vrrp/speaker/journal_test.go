package speaker

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "election")
	open := func() *journal {
		t.Helper()
		j, err := openJournal(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.close() })
		return j
	}
	edge, other := testSpec(100), testSpec(100)
	other.Config.VRID = 8
	j := open()
	cell, last := j.slot(&edge, nil)
	if last != 0 {
		t.Errorf("%v in an empty journal", last)
	}
	note(cell, 5*time.Second)
	if _, last := open().slot(&edge, nil); last != 5*time.Second {
		t.Errorf("%v is left", last)
	}
	if _, last := open().slot(&other, nil); last != 0 {
		t.Errorf("another instance has %v", last)
	}
	if c, _ := open().slot(&edge, map[*uint64]bool{cell: true}); c == cell {
		t.Error("a slot in use was given away")
	}
	// More instances than there is room for, over time.
	for i := range 2 * journalSlots {
		x := testSpec(100)
		x.Name = string(rune('a' + i))
		if c, _ := j.slot(&x, map[*uint64]bool{cell: true}); c == nil || c == cell {
			t.Fatalf("slot of instance %d: %v", i, c)
		}
	}
	// Of another boot, or nonsense.
	j.words[1]++
	if _, last := open().slot(&edge, nil); last != 0 {
		t.Errorf("%v is left from another boot", last)
	}
	if err := os.WriteFile(name, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, last := open().slot(&edge, nil); last != 0 {
		t.Errorf("%v is left from nonsense", last)
	}
}

func TestRecent(t *testing.T) {
	for _, c := range []struct {
		last, at time.Duration
		want     bool
	}{{0, 1, false}, {10, 10, true}, {10, 109, true}, {10, 110, false}, {20, 10, false}} {
		if got := recent(c.last, c.at, 100); got != c.want {
			t.Errorf("recent(%d, %d) is %v", c.last, c.at, got)
		}
	}
}
