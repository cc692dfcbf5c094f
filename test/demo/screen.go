package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// screen prints for people. Colour only repeats what a word says.
type screen struct {
	w      io.Writer
	colour bool
	begin  time.Time
}

func newScreen(f *os.File, colour string) *screen {
	s := &screen{w: f, begin: time.Now()}
	switch colour {
	case "always":
		s.colour = true
	case "never":
	default:
		_, set := os.LookupEnv("NO_COLOR")
		s.colour = isTerminal(f) && !set && os.Getenv("TERM") != "dumb"
	}
	return s
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *screen) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) printf(format string, args ...any) { fmt.Fprintf(s.w, format+"\n", args...) }

// act begins a part of the story.
func (s *screen) act(format string, args ...any) {
	at := fmt.Sprintf("[%5.1f s]", time.Since(s.begin).Seconds())
	s.printf("\n%s %s", s.paint(dim, at), s.paint(bold, fmt.Sprintf(format, args...)))
}

// tell is a sentence within an act.
func (s *screen) tell(format string, args ...any) {
	s.printf("          %s", fmt.Sprintf(format, args...))
}

// block is a picture or file, indented and quiet.
func (s *screen) block(text string) {
	for line := range strings.Lines(text) {
		s.printf("          %s", s.paint(dim, strings.TrimRight(line, "\n")))
	}
}

// verdict is a measured thing that was promised.
func (s *screen) verdict(ok bool, text string) {
	if ok {
		s.printf("   %s    %s", s.paint(green, "kept"), text)
	} else {
		s.printf(" %s    %s", s.paint(red, "BROKEN"), text)
	}
}
