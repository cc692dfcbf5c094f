package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/vrrp/speaker"
)

// What the speaker's process asks of the runtime. It has little to do and must
// do it in time, in locked memory.
const (
	// processors is how many threads may run Go at once, at most: with as many as
	// a large machine has there would be more threads and caches than are needed.
	processors = 4
	// speakerGarbage bounds the heap where collect comes too late: less than
	// 1 MB is alive when the start is over, and the runtime itself collects at 3 MB.
	speakerGarbage = 75
	// collectAbove is the garbage, in bytes, that collect looks for.
	collectAbove = 1 << 20
	lookEvery    = 5 * time.Second
	// collectEvery is a little less than the two minutes after which the runtime
	// collects however little there is.
	collectEvery = 100 * time.Second
	// lull is a time without advertisements in which a collection fits; it takes
	// one to three milliseconds of one CPU. Among very many instances there may
	// be none: then it begins after lullPatience.
	lull         = 5 * time.Millisecond
	lullPatience = time.Second
)

// punctual prepares this process for being the speaker.
func punctual() {
	runtime.GOMAXPROCS(min(processors, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(speakerGarbage)
	// Where the kernel gives huge pages unasked each piece of the heap would
	// take 2 MB, which are locked then. The director ends it for what it starts.
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
}

// directorEnv keeps huge pages out of the director's heap: where the kernel
// gives them unasked, memory that was given back after the burst of a new
// configuration would be filled up again. The programs that the director starts
// get an environment of their own.
func directorEnv() []string {
	v := "disablethp=1"
	if own := os.Getenv("GODEBUG"); own != "" {
		v = own + "," + v
	}
	return []string{"GODEBUG=" + v}
}

// collect has the garbage collected when no advertisement is due. With one CPU
// the runtime's own moment may be that of an advertisement, which is late then:
// threads of the same priority do not interrupt each other.
func collect(ctx context.Context, s *speaker.Speaker) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	last := time.Now()
	sizes := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		metrics.Read(sizes)
		if sizes[0].Value.Uint64() < sizes[1].Value.Uint64()+collectAbove && time.Since(last) < collectEvery {
			continue
		}
		patience, done := context.WithTimeout(ctx, lullPatience)
		_ = s.Lull(patience, lull)
		done()
		runtime.GC()
		last = time.Now()
	}
}
