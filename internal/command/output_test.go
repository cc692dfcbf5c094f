package command

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// What a program wrote before it ended is never lost, however late the agent
// comes to read it: here each goroutine waits for forty busy ones.
func TestOutputOfAStarvedAgent(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var over atomic.Bool
	defer over.Store(true)
	for range 40 {
		go func() {
			for !over.Load() {
			}
		}()
	}
	res, err := sh("echo said; exit 3").Run(within(t, time.Minute))
	if err != nil || res.Code != 3 || string(res.Output) != "said\n" {
		t.Errorf("%+v %q %v", res, res.Output, err)
	}
}

// The end of output waits for nobody who keeps the pipe.
func TestOutputEndsAtOnce(t *testing.T) {
	out, in, err := collect()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for range 1000 {
		if _, err := in.WriteString("12345678"); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.end(); len(got) != maxOutput {
		t.Errorf("%d octets, want %d", len(got), maxOutput)
	}
	if _, err := in.WriteString("x"); err == nil {
		t.Error("somebody still reads")
	}
}
