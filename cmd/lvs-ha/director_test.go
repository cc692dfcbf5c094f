package main

import (
	"runtime"
	"testing"
)

func TestTwoProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for have, want := range map[int]int{1: 2, 2: 2, 5: 5} {
		runtime.GOMAXPROCS(have)
		twoProcessors()
		if n := runtime.GOMAXPROCS(0); n != want {
			t.Errorf("%d processors became %d, want %d", have, n, want)
		}
	}
}
