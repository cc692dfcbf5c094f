package vrrptest

import "time"

// Rand is splitmix64: small, and the same everywhere.
type Rand struct{ state uint64 }

func (r *Rand) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// N is a number in 0..n-1.
func (r *Rand) N(n int) int { return int(r.next() >> 11 % uint64(n)) }

// Chance is true in percent of all cases.
func (r *Rand) Chance(percent int) bool { return r.N(100) < percent }

// Between is a duration in [a, b).
func (r *Rand) Between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(r.next()>>1)%(b-a)
}

func pick[T any](r *Rand, list ...T) T { return list[r.N(len(list))] }
