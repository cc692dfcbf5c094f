package fresh

import (
	"context"
	"sync"
	"time"

	"lvs-ha/internal/director"
)

// Source of snapshots; the director is one.
type Source interface {
	// Snapshot returns the latest at once; never nil after the start.
	Snapshot() *director.Snapshot
	// Refresh asks speaker and kernel again and returns the newest snapshot,
	// possibly an older one when ctx ends first.
	Refresh(ctx context.Context) *director.Snapshot
}

// Reader shares one Refresh among all who ask at the same time.
type Reader struct {
	src   Source
	limit time.Duration

	mu     sync.Mutex
	flight chan struct{} // closed when the Refresh under way ends; nil if none is
}

// NewReader makes a reader whose Read returns within limit (above 0).
func NewReader(src Source, limit time.Duration) *Reader {
	return &Reader{src: src, limit: limit}
}

// Read returns a snapshot that was refreshed after the call began, or by a
// refresh already under way, or at the limit (or the end of ctx) the latest
// one. It is nil only if the source has none yet.
func (r *Reader) Read(ctx context.Context) *director.Snapshot {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	select {
	case <-r.start():
	case <-ctx.Done():
	}
	return r.src.Snapshot()
}

// start joins the Refresh under way or begins one. It runs apart from the
// caller, who may leave early, and a source that ignores its deadline costs
// one goroutine, not one for each reader.
func (r *Reader) start() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		return r.flight
	}
	done := make(chan struct{})
	r.flight = done
	go func() {
		defer func() {
			r.mu.Lock()
			r.flight = nil
			r.mu.Unlock()
			close(done)
		}()
		ctx, cancel := context.WithTimeout(context.Background(), r.limit)
		defer cancel()
		r.src.Refresh(ctx)
	}()
	return done
}
