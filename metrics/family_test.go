package metrics

import (
	"math"
	"testing"
	"time"
)

// Times are told to the microsecond: a verdict is in the kernel within a
// fraction of a millisecond, and its time is held against the write.
func TestTimesAreExact(t *testing.T) {
	at := time.Unix(1_795_287_600, 123_456_789)
	if got := unix(at); math.Abs(got-1_795_287_600.123456) > 5e-7 {
		t.Errorf("%.9f, want 1795287600.123456", got)
	}
	if got := unix(time.Time{}); got != 0 {
		t.Errorf("never is %v, want 0", got)
	}
}
