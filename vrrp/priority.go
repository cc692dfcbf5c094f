package vrrp

import "time"

// EffectivePriority is the configured priority with the deltas of everything
// tracked, clamped to 1..254. An owner (255) is not affected.
func EffectivePriority(configured uint8, deltas []int) uint8 {
	if configured == OwnerPriority {
		return OwnerPriority
	}
	p := int64(configured)
	for _, d := range deltas {
		p += int64(d)
	}
	return uint8(min(max(p, 1), 254))
}

// Skew is Skew_Time (RFC 9568 section 6.1, RFC 3768 section 6.1) of a backup
// with this priority under a master with this interval. It is computed in
// nanoseconds: in centiseconds it would vanish at short intervals, and with it
// the order of the backups. In v2 the interval plays no part.
func Skew(v Version, priority uint8, master time.Duration) time.Duration {
	if v == V2 {
		master = time.Second
	}
	return time.Duration(256-int64(priority)) * master / 256
}

// MasterDown is Active_Down_Interval (Master_Down_Interval in RFC 3768): how
// long a backup with this priority waits for a master with this interval.
func MasterDown(v Version, priority uint8, master time.Duration) time.Duration {
	return 3*master + Skew(v, priority, master)
}

// Skew of this instance at its configured priority under a master with this interval.
func (c *Config) Skew(master time.Duration) time.Duration {
	return Skew(c.Version, c.Priority, master)
}

// MasterDown of this instance at its configured priority under a master with this interval.
func (c *Config) MasterDown(master time.Duration) time.Duration {
	return MasterDown(c.Version, c.Priority, master)
}

// Lifetime that a held address gets, so that the kernel removes what nobody
// renews: max(5 s, 2 × master-down interval), rounded up to seconds.
func (c *Config) Lifetime() time.Duration {
	d := max(5*time.Second, 2*c.MasterDown(c.Interval))
	return (d + time.Second - 1).Truncate(time.Second)
}
