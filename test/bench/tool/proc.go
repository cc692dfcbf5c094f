package main

import (
	"bytes"
	"flag"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// cmdProc sums CPU time (from schedstat, so to the nanosecond; user and system
// apart only in ticks of 10 ms) and memory of the given pids.
func cmdProc(args []string) error {
	var cpu, rss, pss, peak, user, system int64
	threads := 0
	for _, pid := range args {
		dir := "/proc/" + pid + "/"
		tasks, err := os.ReadDir(dir + "task")
		if err != nil {
			return err
		}
		threads += len(tasks)
		for _, t := range tasks {
			if w := words(dir + "task/" + t.Name() + "/schedstat"); len(w) > 0 {
				cpu += number(w[0])
			}
		}
		u, s := ticks(dir + "stat")
		user, system = user+u*10, system+s*10
		rss += field(dir+"status", "VmRSS:")
		peak += field(dir+"status", "VmHWM:")
		pss += field(dir+"smaps_rollup", "Pss:")
	}
	return emit(map[string]any{"at_ns": time.Now().UnixNano(), "processes": len(args), "threads": threads,
		"cpu_ns": cpu, "user_ms": user, "system_ms": system, "rss_kb": rss, "peak_kb": peak, "pss_kb": pss})
}

func number(s string) int64 {
	v, _ := strconv.ParseInt(s, 10, 64) // the kernel writes numbers there
	return v
}

// words of a file; none if it is gone, as a thread that just ended.
func words(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// ticks are user and system time of /proc/PID/stat, fields 14 and 15.
func ticks(file string) (user, system int64) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0
	}
	// After the name in parentheses, which may hold blanks, comes field 3.
	w := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(w) <= 12 {
		return 0, 0
	}
	return number(w[11]), number(w[12])
}

// field is the number behind key in a file of "Key: number unit" lines.
func field(file, key string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if w := strings.Fields(line); len(w) >= 2 && w[0] == key {
			return number(w[1])
		}
	}
	return 0
}

// sink keeps the compiler from removing busy loops.
var sink atomic.Uint64

func spin(x uint64) uint64 { return x*6364136223846793005 + 1 }

func cmdBurn(args []string) error {
	f := flag.NewFlagSet("burn", flag.ExitOnError)
	n := f.Int("n", runtime.NumCPU(), "busy threads")
	dur := f.Duration("for", 10*time.Second, "how long")
	f.Parse(args)
	runtime.GOMAXPROCS(*n + 1)
	for range *n {
		go func() {
			runtime.LockOSThread()
			for x := uint64(1); ; {
				x = spin(x)
				sink.Store(x)
			}
		}()
	}
	time.Sleep(*dur)
	return nil
}
