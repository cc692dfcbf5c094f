package host

import (
	"context"
	"sync"
)

// progress is what the keepers have in common: something is set, a loop is
// woken, makes a pass for it, and whoever waits for that is told.
type progress struct {
	mu     sync.Mutex    // this and what a keeper shares with its callers
	seq    uint64        // of what was set last
	done   uint64        // latest seq that a pass was made for
	passed chan struct{} // closed after each pass
	wake   chan struct{}
}

func newProgress() progress {
	return progress{passed: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// kick wakes the loop. It does not block.
func (p *progress) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// over tells of a pass made for seq; mu is held.
func (p *progress) over(seq uint64) {
	p.done = seq
	close(p.passed)
	p.passed = make(chan struct{})
}

// Wait returns when a pass was made for what was Set last, or with ctx.
func (p *progress) Wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		done, passed := p.done >= p.seq, p.passed
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-passed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
