package main

import (
	"bytes"
	"flag"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// cmdMachine tells how fast this machine makes system calls and connections
// and how punctual its timers are, so that reports from different machines can
// be told apart.
func cmdMachine(args []string) error {
	f := flag.NewFlagSet("machine", flag.ExitOnError)
	dur := f.Duration("for", 500*time.Millisecond, "per figure")
	f.Parse(args)
	runtime.LockOSThread()
	res := map[string]any{"cpus": runtime.NumCPU()}
	rate := func(name string, op func()) {
		n, begin := 0, time.Now()
		for time.Since(begin) < *dur {
			for range 20 {
				op()
			}
			n += 20
		}
		res[name+"_ns"] = float64(time.Since(begin).Nanoseconds()) / float64(n)
	}
	rate("getppid", func() { syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0) })
	rate("clock", func() { sink.Store(uint64(time.Now().Nanosecond())) })
	rate("alu1000", func() {
		x := uint64(1)
		for range 1000 {
			x = spin(x)
		}
		sink.Store(x)
	})
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Bind(listener, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := syscall.Listen(listener, 128); err != nil {
		return err
	}
	sa, err := syscall.Getsockname(listener)
	if err != nil {
		return err
	}
	rate("tcp_connect", func() {
		c, _ := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if syscall.Connect(c, sa) == nil {
			a, _, _ := syscall.Accept(listener)
			syscall.Close(a)
		}
		syscall.Close(c)
	})
	for name, d := range map[string]time.Duration{"sleep1ms": time.Millisecond, "sleep10ms": 10 * time.Millisecond} {
		v := lateness(d, 4**dur)
		res[name+"_late_us"] = map[string]int64{"p50": quantile(v, .5).Microseconds(),
			"p99": quantile(v, .99).Microseconds(), "max": quantile(v, 1).Microseconds()}
	}
	if b, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource"); err == nil {
		res["clocksource"] = string(bytes.TrimSpace(b))
	}
	return emit(res)
}

// lateness sleeps d again and again and returns, sorted, how late each ended.
func lateness(d, total time.Duration) []time.Duration {
	var v []time.Duration
	ts := syscall.NsecToTimespec(int64(d))
	for begin := time.Now(); time.Since(begin) < total; {
		t := time.Now()
		syscall.Nanosleep(&ts, nil)
		v = append(v, time.Since(t)-d)
	}
	slices.Sort(v)
	return v
}
