package speaker

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
)

// slowHandler blocks until told.
type slowHandler struct {
	gate chan struct{}
	mu   sync.Mutex
	n    int
}

func (h *slowHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *slowHandler) Handle(context.Context, slog.Record) error {
	<-h.gate
	h.mu.Lock()
	h.n++
	h.mu.Unlock()
	return nil
}

func (h *slowHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *slowHandler) WithGroup(string) slog.Handler      { return h }

func TestLogNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowHandler{gate: make(chan struct{})}
		h, run := newAsyncHandler(slow)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { run(ctx); close(done) }()
		log := slog.New(h).With("a", 1)
		for range 3 * logBuffer {
			log.Info("x")
		}
		c := h.shared.byLevel()
		if c["info"] < logBuffer || c["info"] > logBuffer+1 || c["info"]+c["dropped"] != 3*logBuffer {
			t.Errorf("counted %v", c)
		}
		cancel()
		close(slow.gate)
		<-done
		if uint64(slow.n) != c["info"] {
			t.Errorf("%d written of %d", slow.n, c["info"])
		}
	})
}
