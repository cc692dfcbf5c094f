package conf

import (
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The TOML decoder keeps no positions that tell elements of an array apart, so
// the places of problems are found here: a scanner walks the text,
// keeps the path of the key it stands at, and notes the places of the paths
// that somebody asked for. It runs only when there is a problem to report.

// spot is where one path stands in the text, as octet offsets.
type spot struct {
	found      bool
	key, value int   // value is key's for a table made by a header
	up         *spot // of the table or list around it, nil at the top
	open       int   // spots inside it that are not found yet
}

// pathKey encodes a path as a map key: names end with a zero octet, indices
// stand between octets that no TOML text contains.
func appendName(b []byte, name string) []byte { return append(append(b, name...), 0) }

func appendIndex(b []byte, i int) []byte {
	return append(strconv.AppendInt(append(b, 0xff), int64(i), 10), 0)
}

// maxDepth bounds how deep arrays and tables may be nested: far more than any
// configuration needs, far less than what a decoder's stack takes.
const maxDepth = 64

// scanner of TOML that the decoder accepted. On other text it stops early or
// finds wrong places, but it ends.
type scanner struct {
	text   string
	at     int
	wanted map[string]*spot
	path   []byte
	depth  int
	// tables counts the elements of arrays of tables by path.
	tables  map[string]int
	tooDeep bool
	// With minRows above 0 lists of at least that many plain rows go to cuts.
	minRows int
	cuts    []cut
	rows    []serverRow // of all cuts
	// ends of lists by their start, which need no look inside if nothing in them is wanted any more.
	ends map[int]int
	odd  bool // a key holds a zero octet, so that encoded paths are ambiguous
}

// locate fills in the spots of the wanted paths. ends of lists that are known
// already save the way through them; it may be nil.
func locate(text string, wanted map[string]*spot, ends map[int]int) {
	s := &scanner{text: text, wanted: wanted, tables: map[string]int{}, ends: ends}
	s.document()
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) has(prefix string) bool {
	return len(s.text)-s.at >= len(prefix) && s.text[s.at:s.at+len(prefix)] == prefix
}

// blank skips white space and comments; newlines too if lines is set.
func (s *scanner) blank(lines bool) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == ' ' || c == '\t' || c == '\r':
		case c == '\n' && lines:
		case c == '#':
			for s.at < len(s.text) && s.text[s.at] != '\n' {
				s.at++
			}
			continue
		default:
			return
		}
		s.at++
	}
}

func (s *scanner) note(key, value int) {
	sp := s.wanted[string(s.path)]
	if sp == nil || sp.found {
		return
	}
	sp.found, sp.key, sp.value = true, key, value
	for up := sp.up; up != nil; up = up.up {
		up.open--
	}
}

func (s *scanner) document() {
	if s.has("\xef\xbb\xbf") {
		s.at = 3
	}
	base := 0
	for !s.tooDeep {
		s.blank(true)
		if s.at >= len(s.text) {
			return
		}
		before := s.at
		if s.peek() == '[' {
			s.header()
			base = len(s.path)
		} else {
			s.keyValue()
			s.path = s.path[:base]
		}
		if s.at == before { // not TOML
			return
		}
	}
}

// header reads [a.b] or [[a.b]] and leaves its path.
func (s *scanner) header() {
	start := s.at
	s.at++
	array := s.peek() == '['
	if array {
		s.at++
	}
	s.path = s.path[:0]
	for s.at < len(s.text) {
		s.blank(false)
		if len(s.path) > 0 { // names of a table of the last element of an array
			if n, ok := s.tables[string(s.path)]; ok {
				s.path = appendIndex(s.path, n-1)
			}
		}
		s.path = appendName(s.path, s.key())
		s.note(start, start) // tables that only a longer header names
		s.blank(false)
		if s.peek() != '.' {
			break
		}
		s.at++
	}
	if array {
		n := s.tables[string(s.path)]
		s.tables[string(s.path)] = n + 1
		s.path = appendIndex(s.path, n)
		s.note(start, start)
	} else if n, ok := s.tables[string(s.path)]; ok {
		s.path = appendIndex(s.path, n-1)
	}
	for s.peek() == ']' {
		s.at++
	}
}

// keyValue reads a.b = value; the caller restores the path.
func (s *scanner) keyValue() {
	start := s.at
	marks := make([]int, 0, 4)
	for s.at < len(s.text) {
		s.blank(false)
		s.path = appendName(s.path, s.key())
		marks = append(marks, len(s.path))
		s.blank(false)
		if s.peek() != '.' {
			break
		}
		s.at++
	}
	if s.peek() != '=' {
		return
	}
	s.at++
	s.blank(true)
	full := s.path
	for i, m := range marks {
		s.path = full[:m]
		if i == len(marks)-1 {
			s.note(start, s.at)
		} else {
			s.note(start, start)
		}
	}
	s.path = full
	s.value()
}

// key reads one part of a key.
func (s *scanner) key() string {
	switch s.peek() {
	case '"', '\'':
		start := s.at
		s.str()
		k := unquote(s.text[start:s.at])
		s.odd = s.odd || strings.IndexByte(k, 0) >= 0
		return k
	}
	start := s.at
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n', '.', '=', ']', '[', '{', '}', ',', '"', '\'', '#':
			return s.text[start:s.at]
		}
		s.at++
	}
	return s.text[start:s.at]
}

// str skips a string of any of the four kinds.
func (s *scanner) str() {
	quote := s.text[s.at : s.at+1]
	if long := quote + quote + quote; s.has(long) {
		s.at += 3
		for s.at < len(s.text) && !s.has(long) {
			s.skip(quote[0])
		}
		s.at = min(s.at+3, len(s.text))
		for extra := 0; extra < 2 && s.at < len(s.text) && s.text[s.at] == quote[0]; extra++ {
			s.at++ // quotes that belong to the text stand before the last three
		}
		return
	}
	s.at++
	for s.at < len(s.text) && s.text[s.at] != quote[0] && s.text[s.at] != '\n' {
		s.skip(quote[0])
	}
	s.at = min(s.at+1, len(s.text))
}

// skip goes over one octet of a string, or an escape in a basic one.
func (s *scanner) skip(quote byte) {
	if quote == '"' && s.text[s.at] == '\\' {
		s.at++
	}
	s.at = min(s.at+1, len(s.text))
}

func (s *scanner) value() {
	base := len(s.path)
	switch s.peek() {
	case '"', '\'':
		s.str()
	case '[':
		if s.minRows > 0 && s.cut() {
			break
		}
		end, inside := s.ends[s.at], s.wanted[string(s.path)]
		if end > 0 && (inside == nil || inside.open == 0) {
			s.at = end
			break
		}
		s.deeper()
		for i := 0; ; i++ {
			if end > 0 && inside.open == 0 {
				s.at = end - 1
				break
			}
			s.blank(true)
			if s.at >= len(s.text) || s.peek() == ']' {
				break
			}
			before := s.at
			s.path = appendIndex(s.path, i)
			s.note(s.at, s.at)
			s.value()
			s.path = s.path[:base]
			if !s.comma(before) {
				break
			}
		}
		s.at = min(s.at+1, len(s.text))
		s.depth--
	case '{':
		s.deeper()
		for {
			s.blank(true)
			if s.at >= len(s.text) || s.peek() == '}' {
				break
			}
			before := s.at
			s.keyValue()
			s.path = s.path[:base]
			if !s.comma(before) {
				break
			}
		}
		s.at = min(s.at+1, len(s.text))
		s.depth--
	default:
		for s.at < len(s.text) {
			switch s.text[s.at] {
			case ',', ']', '}', '#', '\n', '\r':
				return
			}
			s.at++
		}
	}
}

// deeper goes past an opening bracket or brace, or to the end if that is one too many.
func (s *scanner) deeper() {
	s.at++
	if s.depth++; s.depth > maxDepth {
		s.tooDeep, s.at = true, len(s.text)
	}
}

// comma goes to the next element, if there is one and the last took any text.
func (s *scanner) comma(before int) bool {
	s.blank(true)
	if s.peek() == ',' {
		s.at++
		return true
	}
	return s.at > before && s.at < len(s.text) && s.peek() != ']' && s.peek() != '}'
}

// unquote a quoted key as the decoder does.
func unquote(q string) string {
	if len(q) < 2 {
		return ""
	}
	in := q[1 : len(q)-1]
	if q[0] == '\'' {
		return in
	}
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); i++ {
		if in[i] != '\\' || i+1 >= len(in) {
			out = append(out, in[i])
			continue
		}
		i++
		digits := 0
		switch in[i] {
		case 'b':
			out = append(out, '\b')
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case 'f':
			out = append(out, '\f')
		case 'r':
			out = append(out, '\r')
		case 'e':
			out = append(out, 0x1b)
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			out = append(out, in[i])
		}
		if digits > 0 && i+digits < len(in) {
			n, err := strconv.ParseUint(in[i+1:i+1+digits], 16, 32)
			if err == nil {
				out = utf8.AppendRune(out, rune(n))
			}
			i += digits
		}
	}
	return string(out)
}

// lineStarts are the offsets at which the lines of a text begin.
func lineStarts(text string) []int {
	starts := make([]int, 1, 1+strings.Count(text, "\n"))
	for at := 0; ; {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return starts
		}
		at += i + 1
		starts = append(starts, at)
	}
}

// lineColumn turns an offset into a line and a column of characters, both from 1.
func lineColumn(text string, starts []int, offset int) (line, column int) {
	offset = min(max(offset, 0), len(text))
	line = sort.Search(len(starts), func(i int) bool { return starts[i] > offset })
	return line, utf8.RuneCountInString(text[starts[line-1]:offset]) + 1
}
