package fresh

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/internal/director"
)

type fake struct {
	latest    atomic.Pointer[director.Snapshot]
	refreshes atomic.Int32
	refresh   func(ctx context.Context)
}

func (f *fake) Snapshot() *director.Snapshot { return f.latest.Load() }

func (f *fake) Refresh(ctx context.Context) *director.Snapshot {
	f.refreshes.Add(1)
	if f.refresh != nil {
		f.refresh(ctx)
	}
	return f.latest.Load()
}

func TestReadReturnsWhatTheRefreshBrought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.latest.Store(&director.Snapshot{Node: "old"})
		f.refresh = func(context.Context) {
			time.Sleep(300 * time.Millisecond) // virtual time
			f.latest.Store(&director.Snapshot{Node: "new"})
		}
		start := time.Now()
		if got := NewReader(f, 2*time.Second).Read(t.Context()).Node; got != "new" {
			t.Errorf("got snapshot %q, want the refreshed one", got)
		}
		if took := time.Since(start); took != 300*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestReadLeavesAHangingSourceAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.latest.Store(&director.Snapshot{Node: "old"})
		release := make(chan struct{})
		f.refresh = func(context.Context) { <-release } // ignores its deadline
		r := NewReader(f, 2*time.Second)
		for i := range 3 {
			start := time.Now()
			if got := r.Read(t.Context()); got == nil || got.Node != "old" {
				t.Fatalf("read %d: got %v", i, got)
			}
			if took := time.Since(start); took != 2*time.Second {
				t.Errorf("read %d took %v, want the limit of 2s", i, took)
			}
		}
		if n := f.refreshes.Load(); n != 1 {
			t.Errorf("%d refreshes were started while the first hung, want 1", n)
		}
		close(release)
		synctest.Wait()
		f.refresh = nil
		r.Read(t.Context())
		if n := f.refreshes.Load(); n != 2 {
			t.Errorf("%d refreshes after the hang ended, want 2", n)
		}
	})
}

func TestReadersShareARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{refresh: func(context.Context) { time.Sleep(time.Second) }}
		f.latest.Store(&director.Snapshot{})
		r := NewReader(f, 2*time.Second)
		for range 10 {
			go r.Read(t.Context())
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		if n := f.refreshes.Load(); n != 1 {
			t.Errorf("%d refreshes for ten readers, want 1", n)
		}
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{refresh: func(ctx context.Context) { <-ctx.Done() }}
		f.latest.Store(&director.Snapshot{})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		NewReader(f, 2*time.Second).Read(ctx)
		if took := time.Since(start); took != 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		time.Sleep(2 * time.Second)
	})
}
