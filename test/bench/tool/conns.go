package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// holder keeps connections open, speaks a line on each of them in turn until
// stopped, and once more at the end; the answers say whether the same real
// server kept the connection.
type holder struct {
	every    time.Duration
	final    time.Duration
	patience time.Duration
	ep       int
	all      []*held
	byFd     map[int]*held
	last     time.Time // the end began: every connection has to answer once more
}

type held struct {
	fd       int
	server   string
	waiting  bool
	asked    time.Time
	answered time.Time
	nextLine time.Time
	worst    time.Duration
	dead     string // why; empty while alive
	lines    int
}

func cmdConns(args []string) error {
	f := flag.NewFlagSet("conns", flag.ExitOnError)
	target := f.String("target", "10.0.0.100:80", "address and port")
	n := f.Int("n", 50, "connections")
	every := f.Duration("every", 100*time.Millisecond, "time between lines on one connection")
	dur := f.Duration("for", 10*time.Second, "how long; SIGTERM ends it earlier")
	final := f.Duration("final", 3*time.Second, "at the end each connection has this long for one more answer")
	patience := f.Duration("patience", 15*time.Second, "a line unanswered for this long counts as a dead connection")
	f.Parse(args)
	ap, err := netip.ParseAddrPort(*target)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	h := &holder{every: *every, final: *final, patience: *patience, byFd: map[int]*held{}}
	if h.ep, err = syscall.EpollCreate1(0); err != nil {
		return err
	}
	stop := stopped()
	for range *n {
		if err := h.open(ap); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "conns: %d open\n", len(h.byFd))
	if err := h.run(*dur, stop); err != nil {
		return err
	}
	return h.report()
}

func (h *holder) open(ap netip.AddrPort) error {
	sa, family := sockaddr(ap)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	c := &held{fd: fd}
	h.all = append(h.all, c)
	if err := syscall.Connect(fd, sa); err != nil {
		c.dead = "connect: " + err.Error()
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	h.byFd[fd] = c
	c.nextLine = time.Now()
	return epollAdd(h.ep, fd, syscall.EPOLLIN)
}

func (h *holder) run(dur time.Duration, stop *atomic.Bool) error {
	begin := time.Now()
	events := make([]syscall.EpollEvent, 256)
	buf := make([]byte, 4096)
	for {
		now := time.Now()
		if h.last.IsZero() && (now.Sub(begin) > dur || stop.Load()) {
			h.last = now
			for _, c := range h.all {
				c.nextLine = now
			}
		}
		if !h.last.IsZero() && (h.unanswered() == 0 || now.Sub(h.last) > h.final) {
			return nil
		}
		for _, c := range h.all {
			h.speak(c, now)
		}
		k, err := syscall.EpollWait(h.ep, events, 5)
		if err != nil && err != syscall.EINTR {
			return err
		}
		now = time.Now()
		for i := range max(k, 0) {
			h.hear(h.byFd[int(events[i].Fd)], buf, now)
		}
	}
}

// unanswered counts the connections whose last answer is still awaited.
func (h *holder) unanswered() int {
	n := 0
	for _, c := range h.all {
		if c.dead == "" && c.answered.Before(h.last) {
			n++
		}
	}
	return n
}

func (h *holder) speak(c *held, now time.Time) {
	switch {
	case c.dead != "":
	case c.waiting && now.Sub(c.asked) > h.patience:
		c.dead = "no answer"
	case !c.waiting && !now.Before(c.nextLine) && (h.last.IsZero() || c.asked.Before(h.last)):
		if _, err := syscall.Write(c.fd, []byte("line\n")); err != nil {
			c.dead = "write: " + err.Error()
			return
		}
		c.waiting, c.asked = true, now
		c.nextLine = now.Add(h.every)
	}
}

func (h *holder) hear(c *held, buf []byte, now time.Time) {
	n, err := syscall.Read(c.fd, buf)
	if err == syscall.EAGAIN {
		return
	}
	words := strings.Fields(string(buf[:max(n, 0)]))
	if err != nil || len(words) == 0 {
		if c.dead == "" {
			c.dead = "closed"
			if err != nil {
				c.dead = "read: " + err.Error()
			}
		}
		syscall.EpollCtl(h.ep, syscall.EPOLL_CTL_DEL, c.fd, nil)
		return
	}
	if c.server != "" && c.server != words[0] {
		c.dead = "moved to another server"
	}
	c.server = words[0]
	if c.waiting {
		c.worst = max(c.worst, now.Sub(c.asked))
	}
	c.waiting, c.answered = false, now
	c.lines++
}

func (h *holder) report() error {
	alive, lines := 0, 0
	var worst time.Duration
	dead := map[string]int{}
	for _, c := range h.all {
		if c.dead == "" && c.answered.Before(h.last) {
			c.dead = "no answer at the end"
		}
		if c.dead == "" {
			alive++
			worst = max(worst, c.worst)
		} else {
			dead[c.dead]++
		}
		lines += c.lines
	}
	return emit(map[string]any{"opened": len(h.all), "alive": alive, "dead": dead, "lines": lines, "worst_answer_ms": ms(worst)})
}
