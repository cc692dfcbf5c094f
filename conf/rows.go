package conf

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Long lists of servers are most of a large file, one inline table a line
// with nothing but plain texts and numbers in it. The decoder takes 5 µs for
// such a line, and a reload is measured; so they are cut out before the text
// goes to the decoder, read here, and put back into its result. What is not
// plain is left to the decoder, and so is a text that it refuses.

// manyRows is from how many on.
const manyRows = 4

// cut is a list that was taken out of the text.
type cut struct {
	path       string // as the scanner encodes it
	start, end int
	list       any // *serverRows, or []any of map[string]any
}

// cutRows takes lists of at least min plain rows out of a text and leaves
// empty lists in their place.
func cutRows(text string, min int) (short string, cuts []cut, err error) {
	s := &scanner{text: text, tables: map[string]int{}}
	if utf8.ValidString(text) {
		s.minRows = min
	}
	s.document()
	if s.tooDeep {
		return "", nil, errTooDeep
	}
	if len(s.cuts) == 0 || s.odd {
		return text, nil, nil
	}
	size := len(text)
	for _, c := range s.cuts {
		size -= c.end - c.start - len("[]")
	}
	var b strings.Builder
	b.Grow(size)
	at := 0
	for _, c := range s.cuts {
		b.WriteString(text[at:c.start])
		b.WriteString("[]")
		at = c.end
	}
	b.WriteString(text[at:])
	return b.String(), s.cuts, nil
}

// cut the list that begins at the present place, a bracket, if it is one of plain rows.
func (s *scanner) cut() bool {
	var list any
	var end, n int
	if serversPath(s.path) {
		if s.rows == nil { // room for all of them
			s.rows = make([]serverRow, 0, strings.Count(s.text, "{"))
		}
		if l, e := readServerRows(s.text, s.at, s.rows); l != nil {
			list, end, n = l, e, len(l.rows)
			s.rows = s.rows[:len(s.rows)+n]
		}
	}
	if list == nil {
		rows, e, ok := plainRows(s.text, s.at)
		if !ok {
			return false
		}
		list, end, n = rows, e, len(rows)
	}
	if n < s.minRows {
		return false
	}
	s.cuts = append(s.cuts, cut{string(s.path), s.at, end, list})
	s.at = end
	return true
}

// restore puts a list back into the decoded tables. False if its place is not there.
func (c cut) restore(root map[string]any) bool {
	var v any = root
	steps := strings.Split(strings.TrimSuffix(c.path, "\x00"), "\x00")
	for i, step := range steps {
		if strings.HasPrefix(step, "\xff") {
			n, err := strconv.Atoi(step[1:])
			if err != nil {
				return false
			}
			switch a := v.(type) {
			case []map[string]any:
				if n < 0 || n >= len(a) {
					return false
				}
				v = a[n]
			case []any:
				if n < 0 || n >= len(a) {
					return false
				}
				if i == len(steps)-1 {
					a[n] = c.list
					return true
				}
				v = a[n]
			default:
				return false
			}
			continue
		}
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if v, ok = m[step]; !ok {
			return false
		}
		if i == len(steps)-1 {
			if a, isList := v.([]any); !isList || len(a) > 0 {
				return false
			}
			m[step] = c.list
			return true
		}
	}
	return false
}

// plainRows reads the list that begins at text[at], a bracket. Not ok unless
// everything in it is plain.
func plainRows(text string, at int) (rows []any, end int, ok bool) {
	i := at + 1
	for {
		if i = between(text, i); i >= len(text) {
			return nil, 0, false
		}
		if text[i] == ']' {
			return rows, i + 1, true
		}
		var row map[string]any
		if row, i = plainRow(text, i); row == nil {
			return nil, 0, false
		}
		rows = append(rows, row)
		if i = between(text, i); i >= len(text) {
			return nil, 0, false
		}
		switch text[i] {
		case ',':
			i++
		case ']':
			return rows, i + 1, true
		default:
			return nil, 0, false
		}
	}
}

// between skips what may stand between rows; len(text) if that is not plain.
func between(text string, i int) int {
	for i < len(text) {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n':
			i++
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			i += 2
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				if c := text[i]; c != '\t' && (c < ' ' || c > '~') {
					return len(text)
				}
				i++
			}
		default:
			return i
		}
	}
	return i
}

func blanks(text string, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	return i
}

// plainRow reads one inline table of one line; nil if it is not plain.
func plainRow(text string, i int) (map[string]any, int) {
	if text[i] != '{' {
		return nil, 0
	}
	row := make(map[string]any, 8)
	i = blanks(text, i+1)
	if i < len(text) && text[i] == '}' {
		return row, i + 1
	}
	for {
		from := i
		for i < len(text) && bare(text[i]) {
			i++
		}
		name := text[from:i]
		if i = blanks(text, i); name == "" || i >= len(text) || text[i] != '=' {
			return nil, 0
		}
		if _, twice := row[name]; twice {
			return nil, 0
		}
		v, next := plainValue(text, blanks(text, i+1))
		if v == nil {
			return nil, 0
		}
		row[name] = v
		if i = blanks(text, next); i >= len(text) {
			return nil, 0
		}
		switch text[i] {
		case '}':
			return row, i + 1
		case ',':
			i = blanks(text, i+1)
		default:
			return nil, 0
		}
	}
}

func bare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// plainValue reads a text without escapes, a decimal number, true or false;
// nil for anything else.
func plainValue(text string, i int) (v any, next int) {
	if i >= len(text) {
		return nil, 0
	}
	if s, next := plainText(text, i); next > 0 {
		return s, next
	}
	if n, next := plainNumber(text, i); next > 0 {
		return n, next
	}
	if b, next := plainBool(text, i); next > 0 {
		return b, next
	}
	return nil, 0
}

// plainText reads visible ASCII in quotes; next is 0 for anything else.
func plainText(text string, i int) (s string, next int) {
	if text[i] != '"' {
		return "", 0
	}
	from := i + 1
	for i = from; i < len(text) && text[i] != '"'; i++ {
		if c := text[i]; c < ' ' || c > '~' || c == '\\' {
			return "", 0
		}
	}
	if i >= len(text) {
		return "", 0
	}
	return text[from:i], i + 1
}

// plainNumber reads a decimal number without a sign; next is 0 for anything else.
func plainNumber(text string, i int) (n int64, next int) {
	from := i
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		n = n*10 + int64(text[i]-'0')
	}
	if i == from || i-from > 18 || i-from > 1 && text[from] == '0' || !ends(text, i) {
		return 0, 0
	}
	return n, i
}

// plainBool reads true or false; next is 0 for anything else.
func plainBool(text string, i int) (b bool, next int) {
	switch {
	case strings.HasPrefix(text[i:], "true") && ends(text, i+4):
		return true, i + 4
	case strings.HasPrefix(text[i:], "false") && ends(text, i+5):
		return false, i + 5
	}
	return false, 0
}

// ends tells whether a number or word can end before i.
func ends(text string, i int) bool {
	return i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == ',' || text[i] == '}')
}
