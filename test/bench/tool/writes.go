package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// The witness of writes to the IPVS table is the kernel itself: probes at the
// functions through which every writer comes, by netlink or setsockopt. They
// cost about a microsecond a write and nothing in between, whoever writes and
// however large the table is, where a look at /proc/net/ip_vs costs
// milliseconds and sees what happened only at the next look.

// probed are the kernel's functions; a destination's second argument is
// struct ip_vs_dest_user_kern, which begins with address, port and, at 24, weight.
var probed = []struct{ op, function, fetch, result string }{
	{"add", "ip_vs_add_dest", destFetch, errno},
	{"edit", "ip_vs_edit_dest", destFetch, errno},
	{"delete", "ip_vs_del_dest", destFetch, errno},
	{"add-service", "ip_vs_add_service", "", errno},
	{"edit-service", "ip_vs_edit_service", "", errno},
	{"delete-service", "ip_vs_unlink_service", "", ""}, // returns nothing; its servers go with it unseen
	{"flush", "ip_vs_flush", "", errno},
}

const (
	errno      = " ret=$retval:s32"
	destFetch  = " addr=+0($arg2):x32 port=+16($arg2):x16 weight=+24($arg2):s32"
	traceGroup = "bench"
	bufferKB   = "16384"
)

// A write is one call that changed the table, at its end.
type write struct {
	at     int64 // monotonic, nanoseconds
	took   int64 // the call itself, with its wait for the table's lock
	who    string
	op     string
	server string // as /proc/net/ip_vs has it: 0A000016:0050; empty for services
	weight int
	errno  int
}

// writeLog is what was written, and the table that results. It knows servers
// by address and port alone: no experiment has one in two services.
type writeLog struct {
	writes []write
	table  map[string]int
	old    []string // the weight before each write, "-" for none, "?" for unknown
	open   map[string]write
}

func newWriteLog() *writeLog {
	return &writeLog{table: map[string]int{}, open: map[string]write{}}
}

// read takes the text of the kernel's trace.
func (l *writeLog) read(r io.Reader) error {
	in := bufio.NewScanner(r)
	for in.Scan() {
		l.line(in.Text())
	}
	return in.Err()
}

// line takes one event: a call, or its return, which completes the write.
//
//	ipvsadm-162     [000] .....     5.643219: add: (ip_vs_add_dest+0x0/0x340 [ip_vs]) addr=0x100080a port=0x5000 weight=1
//	ipvsadm-162     [000] .....     5.643223: add_end: (ip_vs_genl_set_cmd+0x307/0x430 [ip_vs] <- ip_vs_add_dest) ret=0
func (l *writeLog) line(s string) {
	if strings.HasPrefix(s, "#") {
		return
	}
	head, rest, ok := strings.Cut(s, ": ")
	name, values, ok2 := strings.Cut(rest, ": ")
	w := strings.Fields(head)
	if !ok || !ok2 || len(w) < 3 {
		return
	}
	task := strings.TrimSpace(strings.SplitN(head, " [", 2)[0])
	if op, end := strings.CutSuffix(name, "_end"); end {
		done, begun := l.open[task+op]
		if !begun {
			return // the call was before the trace
		}
		delete(l.open, task+op)
		done.took = nanoseconds(w[len(w)-1]) - done.at
		done.at += done.took
		done.errno = int(number(value(values, "ret")))
		l.add(done)
		return
	}
	c := write{at: nanoseconds(w[len(w)-1]), who: task[:max(strings.LastIndexByte(task, '-'), 0)], op: strings.ReplaceAll(name, "_", "-")}
	if value(values, "addr") != "" {
		c.server = fmt.Sprintf("%08X:%04X", swap(value(values, "addr"), 4), swap(value(values, "port"), 2))
		c.weight = int(number(value(values, "weight")))
	}
	l.open[task+name] = c
}

func (l *writeLog) add(w write) {
	old := "?"
	if v, ok := l.table[w.server]; ok {
		old = strconv.Itoa(v)
	} else if w.op == "add" {
		old = "-"
	}
	l.writes, l.old = append(l.writes, w), append(l.old, old)
	switch {
	case w.errno != 0:
	case w.op == "add", w.op == "edit":
		l.table[w.server] = w.weight
	case w.op == "delete":
		delete(l.table, w.server)
	case w.op == "flush":
		clear(l.table)
	}
}

// complete is the instant at which the table first had n servers with a weight.
// whose name contains match.
func (l *writeLog) complete(n int, match string) (at int64, ok bool) {
	again := newWriteLog()
	active := 0
	for _, w := range l.writes {
		if w.op != "flush" && !strings.Contains(w.server, match) {
			continue
		}
		before := again.table[w.server] > 0
		again.add(w)
		if w.op == "flush" && w.errno == 0 {
			active = 0
		} else if after := again.table[w.server] > 0; after != before {
			active += map[bool]int{true: 1, false: -1}[after]
		}
		if active >= n {
			return w.at, true
		}
	}
	return 0, false
}

// value is what follows key= in a line of blank-separated pairs.
func value(s, key string) string {
	for _, w := range strings.Fields(s) {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			return v
		}
	}
	return ""
}

// swap turns hexadecimal text of n bytes from the machine's order to the network's.
func swap(text string, n int) uint64 {
	v, _ := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64) // the kernel writes it
	var back uint64
	for range n {
		back, v = back<<8|v&0xff, v>>8
	}
	return back
}

// nanoseconds of "seconds.microseconds".
func nanoseconds(text string) int64 {
	s, us, _ := strings.Cut(text, ".")
	return number(s)*1e9 + number(us)*1e3
}

// tracer is the kernel's trace with our probes.
type tracer struct{ dir string }

func openTracer() (*tracer, error) {
	t := &tracer{"/sys/kernel/tracing"}
	if _, err := os.Stat(t.dir + "/trace"); err != nil {
		if err := syscall.Mount("tracefs", t.dir, "tracefs", 0, ""); err != nil {
			return nil, fmt.Errorf("no tracefs: %w (the witness of writes wants a kernel with kprobes)", err)
		}
	}
	// Probes stay for the life of the guest: to arm one stops the machine for
	// milliseconds, which an agent with short timeouts notices.
	if _, err := os.Stat(t.dir + "/events/" + traceGroup); err == nil {
		return t, t.empty()
	}
	for _, p := range probed {
		event := strings.ReplaceAll(p.op, "-", "_")
		if err := t.set("kprobe_events", fmt.Sprintf("p:%s/%s ip_vs:%s%s", traceGroup, event, p.function, p.fetch)); err != nil {
			return nil, err
		}
		if err := t.set("kprobe_events", fmt.Sprintf("r64:%s/%s_end ip_vs:%s%s", traceGroup, event, p.function, p.result)); err != nil {
			return nil, err
		}
	}
	for _, s := range [][2]string{{"buffer_size_kb", bufferKB}, {"trace_clock", "mono"}, {"events/" + traceGroup + "/enable", "1"}, {"tracing_on", "1"}} {
		if err := t.set(s[0], s[1]); err != nil {
			return nil, err
		}
	}
	return t, t.empty()
}

// set writes to a file of tracefs; kprobe_events is added to, the others are set.
func (t *tracer) set(file, text string) error {
	f, err := os.OpenFile(filepath.Join(t.dir, file), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text + "\n"); err != nil {
		return fmt.Errorf("%s: %q: %w", file, text, err)
	}
	return nil
}

// empty throws away what was noted so far.
func (t *tracer) empty() error {
	return os.WriteFile(filepath.Join(t.dir, "trace"), nil, 0) // opening it to write does it
}

// entries is the number of events so far, and how many found no room.
func (t *tracer) entries() (n, lost int64) {
	files, _ := filepath.Glob(filepath.Join(t.dir, "per_cpu/cpu*/stats"))
	for _, f := range files {
		n += field(f, "entries:")
		lost += field(f, "overrun:")
	}
	return n, lost
}

// clockOffset is what the wall clock is ahead of the monotonic one.
func clockOffset() int64 {
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0) // 1: CLOCK_MONOTONIC
	return time.Now().UnixNano() - ts.Nano()
}

// cmdWrites notes each write to the IPVS table, and prints them at the end:
// time, program, operation, server, weight before and after, what the call took;
// then one line of JSON.
func cmdWrites(args []string) error {
	f := flag.NewFlagSet("writes", flag.ExitOnError)
	want := f.Int("want", 0, "end when this many servers have a weight, those before not counted; 0: at SIGTERM")
	match := f.String("match", "", "with -want, only servers whose ADDRESS:PORT in hexadecimal contains this")
	quiet := f.Duration("quiet", 300*time.Millisecond, "with -want, look after no write for so long")
	timeout := f.Duration("timeout", 2*time.Minute, "with -want, end in any case")
	out := f.String("log", "", "file of the writes")
	arm := f.Bool("arm", false, "only set the probes, before what is measured begins")
	mark := f.String("mark", "", "file that is made when the witness is ready")
	f.Parse(args)
	stop := stopped()
	t, err := openTracer()
	if err != nil {
		return err
	}
	if *arm {
		return nil
	}
	if *mark != "" {
		if err := os.WriteFile(*mark, nil, 0o644); err != nil {
			return err
		}
	}
	var l *writeLog
	begin, changed, last := time.Now(), time.Now(), int64(0)
	for !stop.Load() {
		time.Sleep(20 * time.Millisecond)
		if *want == 0 {
			continue
		}
		if n, _ := t.entries(); n != last {
			last, changed = n, time.Now()
		}
		over := time.Since(begin) > *timeout
		if over || last >= int64(*want) && time.Since(changed) >= *quiet {
			if l, err = t.log(); err != nil {
				return err
			}
			if _, ok := l.complete(*want, *match); ok || over {
				break
			}
			changed = time.Now()
		}
	}
	if l == nil {
		if l, err = t.log(); err != nil {
			return err
		}
	}
	if _, lost := t.entries(); lost > 0 {
		return fmt.Errorf("%d events found no room in the kernel's buffer", lost)
	}
	if *out != "" {
		if err := os.WriteFile(*out, l.text(clockOffset()), 0o644); err != nil {
			return err
		}
	}
	return emit(l.summary(*want, *match, clockOffset()))
}

func (t *tracer) log() (*writeLog, error) {
	f, err := os.Open(filepath.Join(t.dir, "trace"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := newWriteLog()
	return l, l.read(f)
}

func (l *writeLog) text(offset int64) []byte {
	var b []byte
	for i, w := range l.writes {
		after := "-"
		if w.op == "add" || w.op == "edit" {
			after = strconv.Itoa(w.weight)
		}
		if w.errno != 0 {
			after = fmt.Sprintf("errno%d", -w.errno)
		}
		b = fmt.Appendf(b, "%d %s %s %s %s %s %dus\n", w.at+offset, w.who, w.op, w.server, l.old[i], after, w.took/1000)
	}
	return b
}

func (l *writeLog) summary(want int, match string, offset int64) map[string]any {
	by, failed := map[string]int{}, 0
	for _, w := range l.writes {
		if w.errno != 0 {
			failed++
			continue
		}
		by[w.op]++
	}
	s := map[string]any{"writes": len(l.writes) - failed, "failed": failed, "by": by}
	if n := len(l.writes); n > 0 {
		s["first_ns"], s["last_ns"] = l.writes[0].at+offset, l.writes[n-1].at+offset
	}
	if at, ok := l.complete(want, match); want > 0 && ok {
		s["complete_ns"] = at + offset
	}
	return s
}
