package conf

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong (or, with Warning, doubtful) in a file.
type Problem struct {
	File string
	// Line and Column count from 1; Column counts characters. Line 0: the file as a whole.
	Line, Column int
	Where        string // the object and, for an unknown key, the key: service "web", server "web2"
	What         string // is wrong with it
	Cure         string // what to do about it, "" where that is plain
	Warning      bool
}

// String is "file:line:column: where: what" and, indented on a line of its
// own, the cure.
func (p Problem) String() string {
	var b strings.Builder
	if p.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Where != "" {
		b.WriteString(": " + p.Where)
	}
	b.WriteString(": " + p.What)
	if p.Cure != "" {
		b.WriteString("\n    " + p.Cure)
	}
	return b.String()
}

// Problems of one file and its includes, sorted by place.
type Problems []Problem

// Errors are the problems that make the configuration unusable.
func (ps Problems) Errors() Problems { return ps.filter(false) }

// Warnings are the problems that the configuration works in spite of.
func (ps Problems) Warnings() Problems { return ps.filter(true) }

func (ps Problems) filter(warning bool) Problems {
	var out Problems
	for _, p := range ps {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	return out
}

// Err is nil if there is no error among the problems; otherwise its text is
// everything there is to say, the warnings and the count included.
func (ps Problems) Err() error {
	if len(ps.Errors()) == 0 {
		return nil
	}
	return problemsError{ps}
}

type problemsError struct{ ps Problems }

func (e problemsError) Error() string { return e.ps.Report() }

// reportMost is how many problems a person is shown at a time: one slip in a
// generated file is there thousands of times.
const reportMost = 50

// Report is what a person is told of problems, of very many the first errors,
// and the count on a line of its own, without a newline at the end. "" for none.
func (ps Problems) Report() string {
	if len(ps) == 0 {
		return ""
	}
	shown, more := ps, ""
	if len(ps) > reportMost {
		if shown = ps.Errors(); len(shown) == 0 {
			shown = ps
		}
		shown = shown[:min(len(shown), reportMost)]
		more = fmt.Sprintf("... and %d more.\n", len(ps)-len(shown))
	}
	return shown.String() + "\n" + more + ps.Count()
}

// Count is "2 errors, 1 warning.", without the kind that is not there.
func (ps Problems) Count() string {
	e, w := len(ps.Errors()), len(ps.Warnings())
	switch {
	case w == 0:
		return plural(e, "error") + "."
	case e == 0:
		return plural(w, "warning") + "."
	}
	return plural(e, "error") + ", " + plural(w, "warning") + "."
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// String lists the problems, one after the other, without a newline at the end.
func (ps Problems) String() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}
