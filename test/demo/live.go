package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/lab"
)

// keys reads single keys from the terminal without waiting for the line to
// end. The returned function gives the terminal back.
func keys(f *os.File) (<-chan byte, func(), error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, nil, fmt.Errorf("-live wants a terminal: %w", err)
	}
	raw := *old
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, nil, err
	}
	ch := make(chan byte)
	go func() {
		defer close(ch)
		buf := make([]byte, 1)
		for {
			if n, err := f.Read(buf); n != 1 || err != nil {
				return
			}
			ch <- buf[0]
		}
	}()
	return ch, func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}

// watch shows the lab again and again until a key is pressed that does nothing else.
func (s *story) watch(ctx context.Context) error {
	ch, restore, err := keys(os.Stdin)
	if err != nil {
		return err
	}
	defer restore()
	// From here on time has no end: nothing that grows with it stays.
	if err := s.sniffer.Close(); err != nil {
		return err
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	note := ""
	for {
		s.draw(ctx, note)
		s.load.Forget(time.Now().Add(-10 * time.Second))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case k, ok := <-ch:
			if !ok {
				return nil
			}
			did, err := s.key(ctx, k)
			if err != nil {
				return err
			}
			if did == "" {
				s.printf("")
				return nil
			}
			note = did
		case <-tick.C:
		}
	}
}

// key does what a key stands for: 1..3 a server, m the preferred director.
func (s *story) key(ctx context.Context, k byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch k {
	case '1', '2', '3':
		srv := s.lab.Servers[k-'1']
		if srv.Running() {
			return srv.Name + " killed", srv.Kill(ctx)
		}
		return srv.Name + " started", srv.Start(ctx)
	case 'm', 'b':
		d := map[byte]*lab.Director{'m': s.lvs1, 'b': s.lvs2}[k]
		if d.Process().Ended() {
			return d.Host().Name + " started", d.Start()
		}
		return d.Host().Name + " killed (SIGKILL, both processes)", d.Kill(ctx)
	}
	return "", nil
}

func (s *story) draw(ctx context.Context, note string) {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\x1b[K\n", args...) }
	p("%s   %s", s.paint(bold, "lvs-ha live"), time.Now().Format(time.TimeOnly))
	p("")
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		role, how := "backup", yellow
		if has, err := d.HasVIP(); err != nil {
			role = err.Error()
		} else if has {
			role, how = "MASTER, holds the VIP", green
		}
		if d.Process().Ended() {
			role, how = "dead ("+role+" in its kernel)", red
			if has, _ := d.HasVIP(); !has {
				role = "dead, without the VIP"
			}
		}
		p("  %s  %s", d.Host().Name, s.paint(how, role))
		w, _ := d.Host().Weights()
		var cells []string
		for _, srv := range s.lab.Servers {
			n, in := w[srv.Addr]
			cell, how := fmt.Sprintf("%s weight %d", srv.Name, n), green
			switch {
			case !in:
				cell, how = srv.Name+" absent", red
			case n == 0:
				how = red
			}
			cells = append(cells, s.paint(how, cell))
		}
		p("        %s", strings.Join(cells, "   "))
	}
	p("")
	// Two seconds that are over, so that what started in them is decided.
	now := time.Now()
	from, to := now.Add(-s.load.Timeout-2*time.Second), now.Add(-s.load.Timeout)
	sum := s.since(from, to)
	secs := to.Sub(from).Seconds()
	p("  client   %s", s.perServer(sum))
	p("           %.0f answered a second, %s", float64(sum.OK)/secs, s.failedText(sum))
	p("  %d long connections: %s", connections, s.conns.Report(time.Time{}))
	if m, err := s.master(ctx); err == nil {
		p("")
		for _, sel := range shown[:4] {
			for _, sample := range m.Find(sel.name, sel.labels...) {
				if sample.Value != 0 {
					p("  %s", s.paint(dim, sample.String()))
				}
			}
		}
	}
	p("")
	p("  %s", s.paint(cyan, note))
	p("  keys: 1 2 3 kill or start a web server, m kill or start lvs1, b lvs2; any other key ends")
	_, _ = io.WriteString(s.w, "\x1b[H"+b.String()+"\x1b[J")
}

func (s *story) failedText(sum lab.Summary) string {
	if sum.Failed == 0 {
		return s.paint(green, "none failed")
	}
	return s.paint(red, fmt.Sprintf("%d FAILED", sum.Failed))
}

// master's metrics, or those of the one that runs.
func (s *story) master(ctx context.Context) (lab.Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	for _, d := range []*lab.Director{s.lvs1, s.lvs2} {
		if has, err := d.HasVIP(); err == nil && has && !d.Process().Ended() {
			return d.Metrics(ctx)
		}
	}
	return nil, fmt.Errorf("no master")
}
