package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// loader starts one request every interval, whatever became of the earlier
// ones, and remembers which failed.
type loader struct {
	sa      syscall.Sockaddr
	family  int
	every   time.Duration
	timeout time.Duration
	source  *sources // nil: the kernel chooses
	errors  *os.File // nil: not wanted

	ep    int
	udp   int // socket, -1 for TCP; UDP attempts are told apart by a sequence number
	seq   uint32
	live  map[int]*attempt // by descriptor, or by sequence number
	order []started        // oldest first, for the time limit
	buf   []byte

	begin   time.Time
	next    time.Time
	starts  int
	skipped int // starts that this machine was too slow for
	ok, bad []time.Time
	latency []time.Duration
	kinds   map[string]int
	servers map[string]int
}

type attempt struct {
	start time.Time
	sent  bool
}

type started struct {
	key int
	at  *attempt
}

var httpRequest = []byte("GET / HTTP/1.0\r\n\r\n")

func cmdLoad(args []string) error {
	f := flag.NewFlagSet("load", flag.ExitOnError)
	target := f.String("target", "10.0.0.100:80", "address and port")
	udp := f.Bool("udp", false, "UDP echo instead of HTTP")
	every := f.Duration("every", time.Millisecond, "time between starts")
	timeout := f.Duration("timeout", 200*time.Millisecond, "a request older than this failed")
	dur := f.Duration("for", 10*time.Second, "how long; SIGTERM ends it earlier")
	src := f.String("src", "", "source addresses, comma separated; each port is used once before any is used again")
	srcfile := f.String("srcstate", "/tmp/benchtool.port", "where -src goes on")
	errfile := f.String("log", "", "write every failed request here")
	f.Parse(args)
	ap, err := netip.ParseAddrPort(*target)
	if err != nil {
		return err
	}
	l := &loader{every: *every, timeout: *timeout, udp: -1, live: map[int]*attempt{}, buf: make([]byte, 4096),
		kinds: map[string]int{}, servers: map[string]int{}}
	l.sa, l.family = sockaddr(ap)
	if *src != "" {
		if l.source, err = newSources(*src, *srcfile); err != nil {
			return err
		}
		defer l.source.save()
	}
	if *errfile != "" {
		if l.errors, err = os.Create(*errfile); err != nil {
			return err
		}
		defer l.errors.Close()
	}
	runtime.LockOSThread()
	if l.ep, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	if *udp {
		if l.udp, err = syscall.Socket(l.family, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		if err := syscall.Connect(l.udp, l.sa); err != nil {
			return err
		}
		if err := epollAdd(l.ep, l.udp, syscall.EPOLLIN); err != nil {
			return err
		}
	}
	if err := l.run(*dur, stopped()); err != nil {
		return err
	}
	return l.report()
}

func (l *loader) run(dur time.Duration, stop *atomic.Bool) error {
	l.begin = time.Now()
	l.next = l.begin
	events := make([]syscall.EpollEvent, 256)
	var drainFrom time.Time
	for {
		now := time.Now()
		if drainFrom.IsZero() && (stop.Load() || now.Sub(l.begin) > dur) {
			drainFrom = now
		}
		if !drainFrom.IsZero() && (len(l.live) == 0 || now.Sub(drainFrom) > 2*l.timeout) {
			return nil
		}
		// Behind by more than 20 intervals: this machine cannot keep the rate.
		if now.Sub(l.next) > 20*l.every {
			l.skipped += int(now.Sub(l.next) / l.every)
			l.next = now
		}
		for drainFrom.IsZero() && !l.next.After(now) {
			l.next = l.next.Add(l.every)
			if err := l.start(); err != nil {
				return err
			}
		}
		l.expire()
		wait := 5
		if drainFrom.IsZero() {
			wait = max(int(time.Until(l.next)/time.Millisecond), 0)
			if wait == 0 && l.every >= time.Millisecond && time.Until(l.next) > 100*time.Microsecond {
				wait = 1
			}
		}
		n, err := syscall.EpollWait(l.ep, events, wait)
		if err != nil && err != syscall.EINTR {
			return err
		}
		now = time.Now()
		for i := range max(n, 0) {
			if fd := int(events[i].Fd); fd == l.udp {
				l.answersUDP(now)
			} else if at := l.live[fd]; at != nil {
				l.progress(fd, at, now)
			}
		}
	}
}

// start begins one attempt.
func (l *loader) start() error {
	l.starts++
	at := &attempt{start: time.Now()}
	if l.udp >= 0 {
		l.seq++
		l.live[int(l.seq)] = at
		l.order = append(l.order, started{int(l.seq), at})
		syscall.Write(l.udp, binary.BigEndian.AppendUint32(nil, l.seq))
		return nil
	}
	fd, err := syscall.Socket(l.family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.live[fd] = at
	if l.source != nil {
		if err := l.source.bind(fd); err != nil {
			return err
		}
	}
	if err := syscall.Connect(fd, l.sa); err != nil && err != syscall.EINPROGRESS {
		l.finish(fd, at, time.Now(), "connect: "+err.Error(), "")
		return nil
	}
	l.order = append(l.order, started{fd, at})
	return epollAdd(l.ep, fd, syscall.EPOLLOUT|syscall.EPOLLIN)
}

// expire ends the attempts that are over their time, oldest first.
func (l *loader) expire() {
	for len(l.order) > 0 {
		oldest := l.order[0]
		if l.live[oldest.key] == oldest.at {
			if time.Since(oldest.at.start) < l.timeout {
				return
			}
			why := "timeout connecting"
			if oldest.at.sent || l.udp >= 0 {
				why = "timeout answering"
			}
			l.finish(oldest.key, oldest.at, time.Now(), why, "")
		}
		l.order = l.order[1:]
	}
}

// finish closes an attempt; why is empty for success.
func (l *loader) finish(key int, at *attempt, now time.Time, why, server string) {
	delete(l.live, key)
	if l.udp < 0 {
		syscall.Close(key)
	}
	if why == "" {
		l.ok = append(l.ok, at.start)
		l.latency = append(l.latency, now.Sub(at.start))
		l.servers[server]++
		return
	}
	l.bad = append(l.bad, at.start)
	l.kinds[why]++
	if l.errors != nil {
		fmt.Fprintf(l.errors, "%d %d %s\n", at.start.UnixNano(), now.UnixNano(), why)
	}
}

func (l *loader) answersUDP(now time.Time) {
	for {
		k, err := syscall.Read(l.udp, l.buf)
		if err == syscall.EAGAIN {
			return
		}
		if err != nil {
			l.kinds["udp read: "+err.Error()]++
			return
		}
		if k < 4 {
			continue
		}
		key := int(binary.BigEndian.Uint32(l.buf))
		if at := l.live[key]; at != nil {
			l.finish(key, at, now, "", "udp")
		}
	}
}

// progress moves a TCP attempt on: connected, or answered.
func (l *loader) progress(fd int, at *attempt, now time.Time) {
	if !at.sent {
		if e, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || e != 0 {
			l.finish(fd, at, now, "connect: "+syscall.Errno(e).Error(), "")
			return
		}
		if _, err := syscall.Write(fd, httpRequest); err != nil {
			l.finish(fd, at, now, "write: "+err.Error(), "")
			return
		}
		at.sent = true
		if err := syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_MOD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}); err != nil {
			l.finish(fd, at, now, "epoll: "+err.Error(), "")
		}
		return
	}
	k, err := syscall.Read(fd, l.buf)
	switch {
	case err == syscall.EAGAIN:
	case err != nil:
		l.finish(fd, at, now, "read: "+err.Error(), "")
	case k == 0:
		l.finish(fd, at, now, "closed without an answer", "")
	case bytes.HasPrefix(l.buf[:k], []byte("HTTP/1.0 200")):
		s := strings.TrimSpace(string(l.buf[:k]))
		l.finish(fd, at, now, "", s[strings.LastIndexByte(s, '\n')+1:])
	default:
		l.finish(fd, at, now, "bad answer", "")
	}
}

func (l *loader) report() error {
	end := time.Now()
	byTime := func(a, b time.Time) int { return a.Compare(b) }
	slices.SortFunc(l.ok, byTime)
	slices.SortFunc(l.bad, byTime)
	slices.Sort(l.latency)
	all := gaps(l.begin, end, l.ok, l.bad)
	// The longest ones are enough.
	slices.SortStableFunc(all, func(a, b gap) int { return cmp.Compare(b.Ms, a.Ms) })
	worst := 0.0
	if len(all) > 0 {
		worst = all[0].Ms
	}
	return emit(map[string]any{
		"gap_count": len(all), "started": l.starts, "ok": len(l.ok), "failed": len(l.bad), "kinds": l.kinds, "servers": l.servers,
		"skipped": l.skipped, "begin_ns": l.begin.UnixNano(), "seconds": end.Sub(l.begin).Seconds(),
		"worst_gap_ms": worst, "gaps": all[:min(len(all), 20)],
		"latency_ms": map[string]float64{"p50": ms(quantile(l.latency, .5)), "p99": ms(quantile(l.latency, .99)), "max": ms(quantile(l.latency, 1))},
	})
}

// A gap is the time between two consecutive successful starts with failed ones
// between them.
type gap struct {
	AtNs int64   `json:"at_ns"`
	Ms   float64 `json:"ms"`
	Lost int     `json:"lost"`
}

// gaps of the sorted starts that went well and badly between begin and end.
func gaps(begin, end time.Time, ok, bad []time.Time) []gap {
	found := []gap{}
	prev := begin
	for _, next := range append(slices.Clone(ok), end) {
		lost := 0
		for len(bad) > 0 && bad[0].Before(next) {
			lost++
			bad = bad[1:]
		}
		if lost > 0 {
			found = append(found, gap{prev.UnixNano(), ms(next.Sub(prev)), lost})
		}
		prev = next
	}
	return found
}
