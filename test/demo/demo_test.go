package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvs-ha/internal/lab"
)

func record(t *testing.T, colour string, fn func(*screen)) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fn(newScreen(f, colour))
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestScreen: what colour says a word says, too, and a file gets no colour.
func TestScreen(t *testing.T) {
	say := func(s *screen) {
		s.act("%s dies", s.paint(red, "web2"))
		s.verdict(true, "one")
		s.verdict(false, "two")
	}
	plain := record(t, "auto", say)
	if strings.Contains(plain, "\x1b") {
		t.Errorf("escape codes in a file: %q", plain)
	}
	for _, w := range []string{"web2 dies", "kept    one", "BROKEN    two"} {
		if !strings.Contains(plain, w) {
			t.Errorf("%q is missing in:\n%s", w, plain)
		}
	}
	if !strings.Contains(record(t, "always", say), "\x1b[31m") {
		t.Error("no colour though it was asked for")
	}
}

// TestBrokenPromise: it is counted, and stands on the last screen.
func TestBrokenPromise(t *testing.T) {
	var s *story
	out := record(t, "never", func(sc *screen) {
		s = &story{screen: sc}
		s.measured(true, "a", "1", "x")
		s.measured(false, "b", "2", "y")
	})
	if s.broken != 1 || len(s.figures) != 2 || !strings.Contains(s.figures[1].value, "BROKEN") || !strings.Contains(out, "promised: y") {
		t.Errorf("broken %d, figures %v, said\n%s", s.broken, s.figures, out)
	}
}

func TestRefuses(t *testing.T) {
	for want, o := range map[string]options{
		"choose dr, nat or tun": {mode: "fullnat"},
		"no binary to show":     {mode: lab.DR, bin: "/nosuch"},
	} {
		code, err := demo(context.Background(), newScreen(os.Stdout, "never"), o)
		if code != 2 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %d %v", o, code, err)
		}
	}
}
