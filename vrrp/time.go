package vrrp

import "time"

// Time is a moment of a monotonic clock in nanoseconds (CLOCK_BOOTTIME on
// Linux), never wall time. Zero means "none", so a clock starts above it.
type Time int64

// Add returns t + d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t - u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }
