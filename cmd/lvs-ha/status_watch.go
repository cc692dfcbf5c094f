package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/control"
	"lvs-ha/internal/table"
)

// watchStatus shows the status again and again until ctx ends (Ctrl-C). On a
// terminal it repaints an alternate screen, elsewhere it appends: one frame of
// text or one line of JSON each time. An agent that is away is waited for.
func watchStatus(ctx context.Context, o statusOptions, stdout, stderr io.Writer) int {
	_, screen := terminalSize(stdout)
	screen = screen && o.output == "text"
	if screen {
		fmt.Fprint(stdout, "\x1b[?1049h\x1b[?25l")
		defer fmt.Fprint(stdout, "\x1b[?25h\x1b[?1049l")
	}
	tick := time.NewTicker(time.Duration(o.watch))
	defer tick.Stop()
	client := control.NewClient(o.socket)
	for {
		d, raw, err := client.Status(ctx)
		if ctx.Err() != nil {
			return exitOK
		}
		var frame []byte
		switch {
		case err != nil && o.output == "json":
			frame = control.ErrorDocument(err)
		case err != nil:
			frame = []byte(table.Line{{Text: err.Error(), Style: table.Bad}}.String(terminalOf(stdout, o.noColour)))
		case o.output == "json":
			frame = append(raw, '\n')
		default:
			frame = []byte(statusScreen(d, terminalOf(stdout, o.noColour), screenOptions{all: o.all, local: time.Local}))
		}
		if screen {
			frame = repaint(frame, stdout)
		} else if o.output == "text" {
			frame = append(frame, '\n')
		}
		if _, err := stdout.Write(frame); err != nil {
			fmt.Fprintf(stderr, "lvs-ha: %v\n", err)
			return exitNo
		}
		select {
		case <-ctx.Done():
			return exitOK
		case <-tick.C:
		}
	}
}

// repaint makes a frame overwrite the one before without flicker: home, each
// line clears its rest, the end clears what is below. Lines that do not fit
// the height are left out, so that the head stays in view.
func repaint(frame []byte, stdout io.Writer) []byte {
	lines := strings.SplitAfter(string(frame), "\n")
	if size, ok := terminalSize(stdout); ok && size.Row > 1 && len(lines) > int(size.Row) {
		lines = lines[:size.Row-1]
	}
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	for _, l := range lines {
		b.WriteString(strings.Replace(l, "\n", "\x1b[K\r\n", 1))
	}
	b.WriteString("\x1b[J")
	return b.Bytes()
}

// terminalSize of w; false if it is not a terminal.
func terminalSize(w io.Writer) (*unix.Winsize, bool) {
	f, ok := w.(*os.File)
	if !ok {
		return nil, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return size, err == nil
}

// terminalOf says what the output can show: colours on a terminal unless the
// environment says otherwise (no-color.org), Unicode where the locale is UTF-8.
func terminalOf(w io.Writer, noColour bool) table.Terminal {
	t := table.Terminal{Unicode: utf8Locale(os.Getenv)}
	if size, ok := terminalSize(w); ok {
		t.Width = int(size.Col)
		t.Colour = !noColour && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return t
}

// utf8Locale follows locale(7): the first of the three that is set counts.
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
