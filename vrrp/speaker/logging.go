package speaker

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// logBuffer is the number of records that may wait.
const logBuffer = 1024

// asyncHandler writes log records from a goroutine of its own: whoever logs
// never waits for a slow or blocked log. Records that find the buffer full are
// counted and lost.
type asyncHandler struct {
	next    slog.Handler
	records chan<- entry
	shared  *logCounts
}

type entry struct {
	h slog.Handler
	r slog.Record
}

// logCounts is shared by all handlers derived from one.
type logCounts struct {
	debug, info, warn, error, dropped atomic.Uint64
}

func (c *logCounts) of(l slog.Level) *atomic.Uint64 {
	switch {
	case l >= slog.LevelError:
		return &c.error
	case l >= slog.LevelWarn:
		return &c.warn
	case l >= slog.LevelInfo:
		return &c.info
	}
	return &c.debug
}

// byLevel is what Status tells.
func (c *logCounts) byLevel() map[string]uint64 {
	return map[string]uint64{
		"debug": c.debug.Load(), "info": c.info.Load(), "warn": c.warn.Load(), "error": c.error.Load(),
		"dropped": c.dropped.Load(),
	}
}

// newAsyncHandler wraps next; the returned function writes records until ctx
// ends and what is left then.
func newAsyncHandler(next slog.Handler) (*asyncHandler, func(context.Context)) {
	records := make(chan entry, logBuffer)
	write := func(ctx context.Context, e entry) { _ = e.h.Handle(ctx, e.r) }
	run := func(ctx context.Context) {
		background := context.WithoutCancel(ctx)
		for {
			select {
			case e := <-records:
				write(background, e)
			case <-ctx.Done():
				for {
					select {
					case e := <-records:
						write(background, e)
					default:
						return
					}
				}
			}
		}
	}
	return &asyncHandler{next: next, records: records, shared: &logCounts{}}, run
}

func (h *asyncHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *asyncHandler) Handle(_ context.Context, r slog.Record) error {
	select {
	case h.records <- entry{h.next, r.Clone()}:
		h.shared.of(r.Level).Add(1)
	default:
		h.shared.dropped.Add(1)
	}
	return nil
}

func (h *asyncHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return &asyncHandler{next: h.next.WithAttrs(as), records: h.records, shared: h.shared}
}

func (h *asyncHandler) WithGroup(name string) slog.Handler {
	return &asyncHandler{next: h.next.WithGroup(name), records: h.records, shared: h.shared}
}
