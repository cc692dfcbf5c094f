package table

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style of a cell; without colours it changes nothing.
type Style uint8

const (
	Plain Style = iota
	Good
	Warn
	Bad
	Dim
	Bold
)

// escape sequences of ECMA-48 (SGR).
func (s Style) escape() string {
	switch s {
	case Good:
		return "\x1b[32m"
	case Warn:
		return "\x1b[33m"
	case Bad:
		return "\x1b[31m"
	case Dim:
		return "\x1b[2m"
	case Bold:
		return "\x1b[1m"
	case Plain:
		return ""
	}
	return ""
}

// Terminal says what the reader's side can show. The zero value is plain
// ASCII of any width, right for a pipe.
type Terminal struct {
	Colour  bool
	Unicode bool
	Width   int // columns; 0 for no limit
}

// Cell of a table.
type Cell struct {
	Text  string
	Style Style
}

// Table is columns with a head. A column is as wide as its widest cell.
type Table struct {
	Head []string
	// Right lists the columns that are aligned to the right.
	Right []int
	Rows  [][]Cell
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Text makes a plain cell.
func Text(s string) Cell { return Cell{Text: s} }

const gap = 2 // spaces between columns

// String renders the table, each line ended by a newline; nothing without rows.
func (t *Table) String(term Terminal) string {
	if len(t.Rows) == 0 {
		return ""
	}
	head := make([]Cell, len(t.Head))
	for i, h := range t.Head {
		head[i] = Cell{h, Bold}
	}
	rows := make([][]Cell, 0, len(t.Rows)+1)
	widths := make([]int, len(t.Head))
	for _, row := range append([][]Cell{head}, t.Rows...) {
		clean := make([]Cell, len(row))
		for i, c := range row {
			clean[i] = Cell{Clean(c.Text, term.Unicode), c.Style}
			if i < len(widths) {
				widths[i] = max(widths[i], utf8.RuneCountInString(clean[i].Text))
			}
		}
		rows = append(rows, clean)
	}
	right := make([]bool, len(t.Head))
	for _, i := range t.Right {
		right[i] = true
	}
	var b strings.Builder
	for _, row := range rows {
		var l Line
		for i, c := range row {
			if i >= len(widths) {
				break
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text))
			switch {
			case right[i]:
				l = append(l, Text(pad), c)
			case i < len(row)-1:
				l = append(l, c, Text(pad))
			default:
				l = append(l, c)
			}
			if i < len(row)-1 {
				l = append(l, Text(strings.Repeat(" ", gap)))
			}
		}
		b.WriteString(l.String(term))
	}
	return b.String()
}

// Line is text in several styles.
type Line []Cell

// String renders the line, cut to the terminal's width, without blanks at its
// end, with a newline.
func (l Line) String(term Terminal) string {
	cells := make([]Cell, 0, len(l))
	width := 0
	for _, c := range l {
		c.Text = Clean(c.Text, term.Unicode)
		width += utf8.RuneCountInString(c.Text)
		cells = append(cells, c)
	}
	for i := len(cells) - 1; i >= 0; i-- {
		trimmed := strings.TrimRight(cells[i].Text, " ")
		width -= len(cells[i].Text) - len(trimmed)
		cells[i].Text = trimmed
		if trimmed != "" {
			break
		}
	}
	room := width
	more := "..."
	if term.Unicode {
		more = "…"
	}
	cut := term.Width > utf8.RuneCountInString(more) && width > term.Width
	if cut {
		room = term.Width - utf8.RuneCountInString(more)
	}
	var b strings.Builder
	for _, c := range cells {
		text := c.Text
		if n := utf8.RuneCountInString(text); n > room {
			text = string([]rune(text)[:room])
		}
		room -= utf8.RuneCountInString(text)
		if esc := c.Style.escape(); term.Colour && esc != "" && text != "" {
			text = esc + text + "\x1b[0m"
		}
		b.WriteString(text)
	}
	if cut {
		b.WriteString(more)
	}
	b.WriteByte('\n')
	return b.String()
}

// ascii stands in for what our own texts use beyond ASCII.
var ascii = strings.NewReplacer("…", "...", "–", "-", "—", "-", "→", "->", "≥", ">=", "≤", "<=")

// Clean makes text of any origin safe for a terminal: line ends and tabs
// become blanks; control characters and those that change the direction of
// writing or take no room are dropped; what is not UTF-8, and without unicode
// what is not ASCII, becomes "?".
func Clean(s string, allowUnicode bool) string {
	if !allowUnicode {
		s = ascii.Replace(s)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == utf8.RuneError:
			return '?'
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Mn, unicode.Me, unicode.Co):
			return -1
		case r > unicode.MaxASCII && !allowUnicode:
			return '?'
		}
		return r
	}, s)
}
