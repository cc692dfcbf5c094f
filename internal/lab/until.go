package lab

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often conditions are looked at.
const pollEvery = 3 * time.Millisecond

// Until waits until cond returns nil and fails with its last error when ctx
// ends. what names the condition for people.
func Until(ctx context.Context, what string, cond func() error) error {
	return UntilEvery(ctx, pollEvery, what, cond)
}

// UntilEvery is Until for a condition that is dear to look at.
func UntilEvery(ctx context.Context, every time.Duration, what string, cond func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		case <-tick.C:
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
