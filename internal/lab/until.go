package lab

import (
	"context"
	"fmt"
	"time"
)

// Until waits until cond returns nil and fails with its last error when ctx
// ends. what names the condition for people.
//
// It looks each 3 ms at first, later after each hundredth of the wait, at last
// each 20 ms: short waits are measured, and in long ones looking would be most of
// what is done.
func Until(ctx context.Context, what string, cond func() error) error {
	return until(ctx, what, cond, func(waited time.Duration) time.Duration {
		return min(max(waited/100, 3*time.Millisecond), 20*time.Millisecond)
	})
}

// UntilSlowly is Until for a condition that is dear to look at, as one that runs
// a program or reads metrics: each 40 ms at first, each 200 ms at last.
func UntilSlowly(ctx context.Context, what string, cond func() error) error {
	return until(ctx, what, cond, func(waited time.Duration) time.Duration {
		return min(max(waited/10, 40*time.Millisecond), 200*time.Millisecond)
	})
}

// UntilEvery is Until with a time of its own between two looks.
func UntilEvery(ctx context.Context, every time.Duration, what string, cond func() error) error {
	return until(ctx, what, cond, func(time.Duration) time.Duration { return every })
}

func until(ctx context.Context, what string, cond func() error, pause func(waited time.Duration) time.Duration) error {
	began := time.Now()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		if Pause(ctx, pause(time.Since(began))) != nil {
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		}
	}
}

// Within is Until with a time limit.
func Within(ctx context.Context, limit time.Duration, what string, cond func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return Until(ctx, what, cond)
}

// Pause lets d go by: for watching that nothing happens, not for waiting until
// something has.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
