package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the size of a configuration file, in octets.
const maxFile = 16 << 20

var errTooLarge = fmt.Errorf("it is larger than %d MiB", maxFile>>20)

// source is one file: its text and what the decoder made of it.
type source struct {
	name  string
	order int // of reading; the main file is 0
	text  string
	root  map[string]any
	ends  map[int]int // of lists of rows, by their start in the text
	nodes []string    // keys of [nodes] in the order of the text
}

// files is the little of the file system that loading needs.
type files struct {
	read func(name string) (string, error)
	glob func(pattern string) ([]string, error)
}

var realFiles = files{read: readFile, glob: filepath.Glob}

func readFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		return "", errors.New("it is a directory")
	}
	var text strings.Builder // of the right size at once, and without a copy
	text.Grow(int(min(st.Size(), maxFile)))
	if _, err = io.Copy(&text, io.LimitReader(f, maxFile+1)); err == nil && text.Len() > maxFile {
		err = errTooLarge
	}
	return text.String(), err
}

// why is an error of the file system without the name of the file.
func why(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "reading it is not permitted"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// parse decodes the text. A nil problem means that root is set.
func (s *source) parse(rows int) (bad *Problem) {
	defer func() {
		if r := recover(); r != nil { // of the decoder; none is known
			bad = &Problem{File: s.name, What: fmt.Sprintf("the text cannot be decoded: %v", r)}
		}
	}()
	md, err := s.decode(rows)
	switch {
	case errors.Is(err, errTooDeep):
		return &Problem{File: s.name, What: err.Error()}
	case err != nil:
		return s.syntax(err)
	}
	if s.root == nil {
		s.root = map[string]any{}
	}
	s.orderNodes(md)
	return nil
}

var errTooDeep = fmt.Errorf("arrays and tables are nested more than %d deep", maxDepth)

// decode fills in root. Lists of at least so many plain rows do not go
// through the decoder (0 for none); see cutRows.
func (s *source) decode(rows int) (md toml.MetaData, err error) {
	short, cuts, err := cutRows(s.text, rows)
	if err != nil {
		return md, err
	}
	if len(cuts) > 0 {
		md, err = toml.Decode(short, &s.root)
		good := err == nil
		s.ends = make(map[int]int, len(cuts))
		for _, c := range cuts {
			good = good && c.restore(s.root)
			s.ends[c.start] = c.end
		}
		if good {
			return md, nil
		}
		s.root, s.ends = nil, nil // and again, for the message
	}
	return toml.Decode(s.text, &s.root)
}

func (s *source) syntax(err error) *Problem {
	p := &Problem{File: s.name, What: "this is not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	var pe toml.ParseError
	if errors.As(err, &pe) {
		p.What = "this is not TOML: " + pe.Message
		p.Line, p.Column = lineColumn(s.text, lineStarts(s.text), pe.Position.Start)
		if p.Line != pe.Position.Line { // the decoder's offset is not always set
			p.Line, p.Column = max(pe.Position.Line, 1), max(pe.Position.Col, 1)
		}
		if pe.LastKey != "" {
			p.Cure = fmt.Sprintf("the last key that was understood is %q", pe.LastKey)
		}
		if cure := syntaxCure(s.text, p.Line, pe.Message); cure != "" {
			p.Cure = cure
		}
	}
	return p
}

// otherFormats by how a line of them begins.
var otherFormats = []struct {
	line *regexp.Regexp
	cure string
}{
	{regexp.MustCompile(`^\s*(global_defs|vrrp_\w+|virtual_server(_group)?|static_\w+|lvs_\w+|real_server)\b[^=]*(\{|$)`), "this is a keepalived.conf; docs/keepalived.md says how each of its words is written here"},
	{regexp.MustCompile(`^\s*(virtual|real|checktype|servicename|quiescent|autoreload|checkinterval)\s*=\s*\S*\b(\d+\.|gate|masq|ipip|negotiate|yes|no)`), "this looks like an ldirectord.cf; README.md has an example to begin with"},
	{regexp.MustCompile(`^\s*[A-Za-z_][\w-]*:(\s|$)`), "this looks like YAML; TOML has key = value, and [table] in place of indentation"},
	{regexp.MustCompile(`^\s*\{`), "this looks like JSON; TOML has key = value, and [table] in place of braces"},
}

// syntaxCure says what to do about a text that is not TOML, going by the
// line that the decoder stumbled over; "" where nothing better is known.
func syntaxCure(text string, line int, message string) string {
	if strings.Contains(message, "UTF-8") || strings.Contains(message, "NULL") {
		return "save it as UTF-8; is it the right file?"
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		for _, f := range otherFormats {
			// The first is told by words that TOML has no use for, the others by the bad line.
			if (strings.HasPrefix(f.cure, "this is") && i < 200 || i == line-1) && f.line.MatchString(l) {
				return f.cure
			}
		}
	}
	if line < 1 || line > len(lines) {
		return ""
	}
	bad := strings.TrimSpace(lines[line-1])
	switch {
	case strings.ContainsAny(bad, "\u201c\u201d\u201e\u2018\u2019"):
		return "texts stand in straight quotes: \""
	case strings.Contains(message, "newlines"):
		return "a closing quote is missing in this line"
	case strings.Contains(message, "invalid escape"):
		return "a text in single quotes takes backslashes as they are: '\\d+'"
	case strings.Contains(message, "already been defined"):
		return "it stands further up: merge the two, or rename one"
	}
	if m := unquoted.FindStringSubmatch(bad); m != nil {
		return fmt.Sprintf("texts stand in quotes: %s = %q", m[1], m[2])
	}
	return ""
}

var unquoted = regexp.MustCompile(`^([\w-]+)\s*=\s*([A-Za-z/][^"'\[\]{}#]*|\d[\w./:]*[A-Za-z.:/][\w./:]*)$`)

// orderNodes lists the keys of [nodes] as they come in the text, for maps have no order.
func (s *source) orderNodes(md toml.MetaData) {
	nodes, ok := s.root["nodes"].(map[string]any)
	if !ok || len(nodes) == 0 {
		return
	}
	seen := map[string]bool{}
	for _, k := range md.Keys() {
		if len(k) >= 2 && k[0] == "nodes" && !seen[k[1]] {
			seen[k[1]] = true
			s.nodes = append(s.nodes, k[1])
		}
	}
	var rest []string
	for n := range nodes {
		if !seen[n] {
			rest = append(rest, n)
		}
	}
	sort.Strings(rest)
	s.nodes = append(s.nodes, rest...)
}

// path is the place of a value in a source; up is nil for the root. It is
// followed by key, or by index where that is not negative.
type path struct {
	src   *source
	up    *path
	key   string
	index int
}

func (s *source) top() *path { return &path{src: s, index: -1} }

func (p *path) child(key string) *path { return &path{src: p.src, up: p, key: key, index: -1} }

func (p *path) at(i int) *path { return &path{src: p.src, up: p, index: i} }

// elements from the root down, without the root itself.
func (p *path) elements() []*path {
	var out []*path
	for ; p.up != nil; p = p.up {
		out = append(out, p)
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// encode the path for the scanner.
func (p *path) encode() string {
	var b []byte
	for _, e := range p.elements() {
		if e.index >= 0 {
			b = appendIndex(b, e.index)
		} else {
			b = appendName(b, e.key)
		}
	}
	return string(b)
}

// step goes from v to its element e.
func step(v any, e *path) any {
	if e.index < 0 {
		m, _ := v.(map[string]any)
		return m[e.key]
	}
	switch a := v.(type) {
	case []map[string]any:
		if e.index < len(a) {
			return a[e.index]
		}
	case []any:
		if e.index < len(a) {
			return a[e.index]
		}
	case *serverRows:
		if e.index < len(a.rows) {
			return a.table(e.index)
		}
	}
	return nil
}

// single tables that stand alone at the top of a file.
var singles = map[string]bool{"defaults": true, "process": true, "sync": true, "ipvs": true, "http": true, "log": true}

// named tables, by the word that people use for one of them.
var named = map[string]string{"nodes": "node", "vrrp": "vrrp", "pool": "pool", "check": "check"}

// listed tables.
var listed = map[string]string{"service": "service", "servers": "server", "check": "check"}

// describe says what a path is in: the objects in people's words, the same
// as a TOML header if it is one, and the keys that are left.
func (p *path) describe() (objects, header, keys string) {
	var objs, head, rest []string
	plain := true // header still says all
	v := any(p.src.root)
	es := p.elements()
	for i := 0; i < len(es); i++ {
		e := es[i]
		v = step(v, e)
		if e.index >= 0 {
			rest = append(rest, fmt.Sprintf("[%d]", e.index))
			continue
		}
		inNode := len(es) > 2 && es[0].key == "nodes" && i == 2
		switch {
		case len(rest) > 0:
		case (i == 0 || inNode) && named[e.key] != "" && i+1 < len(es) && es[i+1].index < 0:
			if inNode && e.key != "vrrp" {
				break
			}
			i++
			v = step(v, es[i])
			objs = append(objs, named[e.key]+" "+quote(es[i].key))
			head = append(head, keyText(e.key), keyText(es[i].key))
			continue
		case i == 0 && singles[e.key]:
			objs, head = append(objs, "["+e.key+"]"), append(head, e.key)
			if e.key == "defaults" && len(es) > 1 && es[1].key == "check" {
				i++
				v = step(v, es[1])
				objs[0], head = "[defaults.check]", append(head, "check")
			}
			continue
		case inNode && singles[e.key]:
			objs, head = append(objs, e.key), append(head, e.key)
			continue
		case listed[e.key] != "" && i+1 < len(es) && es[i+1].index >= 0 && (i == 0) == (e.key == "service"):
			i++
			v = step(v, es[i])
			objs = append(objs, listed[e.key]+" "+nameOf(v, es[i].index))
			plain = false
			continue
		}
		rest = append(rest, keyText(e.key))
	}
	if plain && len(head) > 0 {
		header = "[" + strings.Join(head, ".") + "]"
	}
	for i, r := range rest {
		if i > 0 && r[0] != '[' {
			keys += "."
		}
		keys += r
	}
	return strings.Join(objs, ", "), header, keys
}

// nameOf an element of a list of tables: its name, or its type, or its number.
func nameOf(v any, index int) string {
	m, _ := v.(map[string]any)
	for _, k := range []string{"name", "type"} {
		if n, ok := m[k].(string); ok && n != "" {
			return quote(n)
		}
	}
	return fmt.Sprint(index + 1)
}

// keyText is a key as one writes it in TOML.
func keyText(k string) string {
	for i := 0; i < len(k); i++ {
		if c := k[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return quote(k)
		}
	}
	if k == "" {
		return `""`
	}
	return k
}

// quote a text for people, shortened if it is long.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// show a value as it may stand in the file.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case map[string]any:
		return "{…}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[…]"
	case []map[string]any, *serverRows:
		return "[…]"
	case float64:
		if s := fmt.Sprint(v); strings.ContainsAny(s, ".eIN") {
			return s
		}
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprint(v)
	}
}
