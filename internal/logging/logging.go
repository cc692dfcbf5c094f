// Package logging makes the program's logger: slog to standard error, with a
// level that a reload can change and a count of records by level.
package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Log is a logger with its switches.
type Log struct {
	*slog.Logger
	level  *slog.LevelVar
	counts *counts
}

type counts struct{ debug, info, warn, err atomic.Uint64 }

// New makes a logger that writes to w. Format is auto, text or json; auto is
// text on a terminal and under a journal, else json.
func New(w io.Writer, level, format string) *Log {
	l := &Log{level: new(slog.LevelVar), counts: new(counts)}
	l.SetLevel(level)
	opts := &slog.HandlerOptions{Level: l.level}
	var h slog.Handler
	switch {
	case format == "json", format == "auto" && !plain(w):
		h = slog.NewJSONHandler(w, opts)
	default:
		if os.Getenv("JOURNAL_STREAM") != "" {
			// The journal stamps each line itself.
			opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}
		}
		h = slog.NewTextHandler(w, opts)
	}
	l.Logger = slog.New(&counter{h, l.counts})
	return l
}

// plain tells whether lines of text are what the reader wants.
func plain(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("JOURNAL_STREAM") != "" {
		return true
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// SetLevel takes debug, info, warn or error; anything else is info.
func (l *Log) SetLevel(s string) {
	switch s {
	case "debug":
		l.level.Set(slog.LevelDebug)
	case "warn":
		l.level.Set(slog.LevelWarn)
	case "error":
		l.level.Set(slog.LevelError)
	default:
		l.level.Set(slog.LevelInfo)
	}
}

// Counts of records written, by level.
func (l *Log) Counts() map[string]uint64 {
	return map[string]uint64{
		"debug": l.counts.debug.Load(), "info": l.counts.info.Load(),
		"warn": l.counts.warn.Load(), "error": l.counts.err.Load(),
	}
}

// counter counts what passes the level.
type counter struct {
	slog.Handler
	c *counts
}

func (h *counter) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case r.Level >= slog.LevelError:
		h.c.err.Add(1)
	case r.Level >= slog.LevelWarn:
		h.c.warn.Add(1)
	case r.Level >= slog.LevelInfo:
		h.c.info.Add(1)
	default:
		h.c.debug.Add(1)
	}
	return h.Handler.Handle(ctx, r)
}

func (h *counter) WithAttrs(a []slog.Attr) slog.Handler { return &counter{h.Handler.WithAttrs(a), h.c} }
func (h *counter) WithGroup(g string) slog.Handler      { return &counter{h.Handler.WithGroup(g), h.c} }
