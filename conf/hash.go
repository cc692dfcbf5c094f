package conf

import (
	"math"
	"time"
)

// The hash of a configuration is of its decoded tables: formatting, comments
// and the order of keys do not count. It must be the same on every director,
// so it is FNV-1a, with a final mix because hashes of keys are added up.

const (
	fnvStart = 14695981039346656037
	fnvPrime = 1099511628211
)

// hash of the main file without its list of includes, and of what these contain.
func (l *loader) hash() uint64 {
	h := uint64(fnvStart)
	for w, x := range l.main.m {
		switch w {
		case "include", "pool", "check", "service":
		default:
			h += mix(hashText(fnvStart, w), hashValue(x))
		}
	}
	for n, p := range l.pools {
		h += mix(hashText(1, n), hashValue(p.m))
	}
	for n, c := range l.checks {
		h += mix(hashText(2, n), hashValue(c.m))
	}
	for i, s := range l.services {
		h += mix(uint64(i)+3, hashValue(s.m))
	}
	return mix(h, 0) >> 11
}

func hashText(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// mix two hashes so that their order counts.
func mix(a, b uint64) uint64 {
	h := a*fnvPrime ^ b
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func hashValue(v any) uint64 {
	switch v := v.(type) {
	case string:
		return mix('s', hashText(fnvStart, v))
	case int64:
		return mix('i', uint64(v))
	case bool:
		if v {
			return mix('b', 1)
		}
		return mix('b', 0)
	case float64:
		return mix('f', math.Float64bits(v))
	case time.Time:
		return mix('t', uint64(v.UnixNano()))
	case map[string]any:
		h := uint64('m')
		for k, x := range v {
			h += mix(hashText(fnvStart, k), hashValue(x))
		}
		return mix('m', h)
	case []any:
		h := uint64('l')
		for _, x := range v {
			h = mix(h, hashValue(x))
		}
		return h
	case []map[string]any:
		h := uint64('l')
		for _, x := range v {
			h = mix(h, hashValue(x))
		}
		return h
	case *serverRows:
		return v.hash()
	default:
		return 0
	}
}
