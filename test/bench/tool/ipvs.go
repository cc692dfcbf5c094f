package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// weights holds the IPVS table as text: "TCP VIP:PORT" -> "service",
// "TCP VIP:PORT SERVER:PORT" -> weight; addresses are as /proc/net/ip_vs has them.
type weights map[string]string

const isService = "service"

func parseTable(text string) weights {
	t := weights{}
	svc := ""
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) >= 2 && (w[0] == "TCP" || w[0] == "UDP" || w[0] == "SCTP" || w[0] == "FWM"):
			svc = w[0] + " " + w[1]
			t[svc] = isService
		case len(w) >= 4 && w[0] == "->" && strings.Contains(w[1], ":") && w[1] != "RemoteAddress:Port":
			t[svc+" "+w[1]] = w[3]
		}
	}
	return t
}

// tableReader reads /proc/net/ip_vs over and over into one buffer.
type tableReader struct {
	file *os.File
	buf  []byte
}

func openTable() (*tableReader, error) {
	f, err := os.Open("/proc/self/net/ip_vs")
	if err != nil {
		return nil, err
	}
	return &tableReader{file: f, buf: make([]byte, 1<<16)}, nil
}

func (r *tableReader) read() weights {
	n := 0
	for {
		k, err := r.file.ReadAt(r.buf[n:], int64(n))
		n += k
		if err != nil {
			return parseTable(string(r.buf[:n]))
		}
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
}

// cmdWatch prints one line per change of the table: time, entry, old, new.
func cmdWatch(args []string) error {
	f := flag.NewFlagSet("watch", flag.ExitOnError)
	every := f.Duration("every", 2*time.Millisecond, "time between looks")
	dur := f.Duration("for", time.Hour, "how long; SIGTERM ends it earlier")
	f.Parse(args)
	stop := stopped()
	r, err := openTable()
	if err != nil {
		return err
	}
	defer r.file.Close()
	old := r.read()
	fmt.Printf("%d watching %d entries\n", time.Now().UnixNano(), len(old))
	for begin := time.Now(); time.Since(begin) < *dur && !stop.Load(); {
		time.Sleep(*every)
		t := r.read()
		now := time.Now().UnixNano()
		for k, v := range t {
			if o, ok := old[k]; !ok {
				fmt.Printf("%d %s - %s\n", now, k, v)
			} else if o != v {
				fmt.Printf("%d %s %s %s\n", now, k, o, v)
			}
		}
		for k, o := range old {
			if _, ok := t[k]; !ok {
				fmt.Printf("%d %s %s -\n", now, k, o)
			}
		}
		old = t
	}
	return nil
}
