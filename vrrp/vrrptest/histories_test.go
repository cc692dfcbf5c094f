package vrrptest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	histories = flag.Uint64("lvsha.histories", 0, "run this many histories; 0: what a few seconds allow")
	firstSeed = flag.Uint64("lvsha.first", 1, "seed of the first history")
	oneSeed   = flag.Uint64("lvsha.seed", 0, "replay the history of this seed and print its transcript")
)

// slice is how long the histories of a normal run take, on all cores, and
// those of a run with LVSHA_LONG; LVSHA_SEED chooses where they begin.
const (
	slice     = 5 * time.Second
	longSlice = 30 * time.Second
)

func long() bool { return os.Getenv("LVSHA_LONG") != "" }

func TestHistories(t *testing.T) {
	if *oneSeed != 0 {
		if v := NewHistory().Run(*oneSeed, os.Stdout); v != "" {
			t.Errorf("seed %d: %s", *oneSeed, v)
		}
		return
	}
	n, first := *histories, *firstSeed
	var stop atomic.Bool
	if n == 0 {
		n = 100_000
		d := slice
		if long() {
			d = longSlice
			if seed, err := strconv.ParseUint(os.Getenv("LVSHA_SEED"), 10, 32); err == nil {
				first += seed * n
			}
		}
		timer := time.AfterFunc(d, func() { stop.Store(true) })
		defer timer.Stop()
	}
	var next, done, steps, packets, faults atomic.Uint64
	var wg sync.WaitGroup
	began := time.Now()
	if *histories != 0 {
		defer report(began, n, &done)()
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			h := NewHistory()
			for !stop.Load() {
				i := next.Add(1) - 1
				if i >= n {
					break
				}
				seed := first + i
				if v := h.Run(seed, nil); v != "" {
					t.Errorf("seed %d: %s\n\treplay: go test ./vrrp/vrrptest -run TestHistories -lvsha.seed=%d", seed, v, seed)
					stop.Store(true)
					break
				}
				done.Add(1)
			}
			steps.Add(h.Steps)
			packets.Add(h.Packets)
			faults.Add(h.Faults)
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d histories (seeds from %d) with %d faults, %d packets, %d steps in %v: %.0f a minute",
		done.Load(), first, faults.Load(), packets.Load(), steps.Load(), took.Round(time.Millisecond), float64(done.Load())/took.Minutes())
	if done.Load() == 0 {
		t.Error("no history was run")
	}
}

// report says every ten seconds how far it is, until the answer is called.
func report(began time.Time, n uint64, done *atomic.Uint64) (end func()) {
	ticker := time.NewTicker(10 * time.Second)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
			d := done.Load()
			took := time.Since(began)
			left := time.Duration(float64(took) / float64(max(d, 1)) * float64(n-d))
			fmt.Fprintf(os.Stderr, "histories: %d of %d are clean after %v, about %v left\n", d, n, took.Round(time.Second), left.Round(time.Second))
		}
	}()
	return func() {
		ticker.Stop()
		close(stop)
	}
}
