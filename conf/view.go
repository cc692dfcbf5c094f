package conf

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// part of a key-value pair that a finding points at.
type part uint8

const (
	atValue part = iota
	atKey
	atTable // the table itself: something is missing in it
)

// finding is a problem whose place is not looked up yet.
type finding struct {
	at      *path
	part    part
	where   string // "" to derive it from at
	what    string // after "key = value" for atValue; %PLACE% stands for other
	cure    string
	other   *path
	warning bool
}

// report of one run: findings of all files.
type report struct {
	problems []Problem // without findings: files as a whole, syntax
	findings []finding
	seen     func(kind, string) // for tests: each key that is met
}

func (r *report) add(f finding) { r.findings = append(r.findings, f) }

// layer is one table that contributes to a view.
type layer struct {
	m  map[string]any
	at *path
}

// view reads keys from tables laid over one another: the last that has a key
// counts, tables are merged key by key, everything else is replaced.
type view struct {
	r      *report
	layers []layer // lowest first
}

func (v view) exists() bool { return len(v.layers) > 0 }

// table is the uppermost layer: where a missing key is reported.
func (v view) table() *path { return v.layers[len(v.layers)-1].at }

// over is v with a further layer on top.
func (v view) over(ls ...layer) view {
	return view{v.r, append(append(make([]layer, 0, len(v.layers)+len(ls)), v.layers...), ls...)}
}

// get is the value of a key and the layer it stands in.
func (v view) get(key string) (any, layer, bool) {
	for i := len(v.layers) - 1; i >= 0; i-- {
		if x, ok := v.layers[i].m[key]; ok {
			return x, v.layers[i], true
		}
	}
	return nil, layer{}, false
}

// height of the layer that has the key, -1 for none.
func (v view) height(key string) int {
	for i := len(v.layers) - 1; i >= 0; i-- {
		if _, ok := v.layers[i].m[key]; ok {
			return i
		}
	}
	return -1
}

func (v view) has(key string) bool { return v.height(key) >= 0 }

// place of the key's value, or of the table where it is absent.
func (v view) place(key string) *path {
	if _, l, ok := v.get(key); ok {
		return l.at.child(key)
	}
	return v.table()
}

// bad reports the value of a key; what follows "key = value ". An absent key
// is reported at the table.
func (v view) bad(key, what, cure string) { v.complain(finding{what: what, cure: cure}, key) }

// warn is bad with a warning.
func (v view) warn(key, what, cure string) {
	v.complain(finding{what: what, cure: cure, warning: true}, key)
}

func (v view) complain(f finding, key string) {
	f.at = v.place(key)
	if !v.has(key) {
		f.part = atTable
	}
	v.r.add(f)
}

// missing reports that a key has to be there, unless somebody has written it
// by another name, which is reported by itself.
func (v view) missing(key, cure string) {
	for _, l := range v.layers {
		for w := range l.m {
			if meant(w, key) {
				return
			}
		}
	}
	v.r.add(finding{at: v.table(), part: atTable, what: key + " is missing", cure: cure})
}

// wrong type of a value.
func (v view) wrongType(key, want, cure string) { v.bad(key, "must be "+want, cure) }

// tableExamples say what stands in tables that people take for plain values.
var tableExamples = map[string]string{
	"persistence": `timeout = "5m"`, "sorry": `address = "10.0.0.99"`, "tunnel": `type = "ipip"`,
	"auth": `type = "pass", password = "..."`, "garp": "count = 5", "timeouts": `tcp = "15m"`,
}

// sub is the view of a table inside. Values that are no tables are reported;
// false counts as absent where off is set, and hides the layers below.
func (v view) sub(key string) view { return v.subTable(key, false) }

func (v view) subTable(key string, off bool) view {
	out := view{r: v.r}
	for _, l := range v.layers {
		x, ok := l.m[key]
		if !ok {
			continue
		}
		if b, isBool := x.(bool); off && isBool && !b {
			out.layers = nil
			continue
		}
		m, isTable := x.(map[string]any)
		if !isTable {
			inside := tableExamples[key]
			if inside == "" {
				inside = "…"
			}
			v.r.add(finding{at: l.at.child(key), what: "must be a table", cure: fmt.Sprintf("write %s = { %s }", keyText(key), inside)})
			continue
		}
		out.layers = append(out.layers, layer{m, l.at.child(key)})
	}
	return out
}

func (v view) str(key, def string) string {
	x, _, ok := v.get(key)
	if !ok {
		return def
	}
	s, ok := x.(string)
	if !ok {
		v.wrongType(key, "a text in quotes", "")
		return def
	}
	return s
}

func (v view) boolean(key string, def bool) bool {
	x, _, ok := v.get(key)
	if !ok {
		return def
	}
	b, ok := x.(bool)
	if !ok {
		v.wrongType(key, "true or false", "write it without quotes")
		return def
	}
	return b
}

// integer within lo..hi.
func (v view) integer(key string, def, lo, hi int64) int64 {
	x, _, ok := v.get(key)
	if !ok {
		return def
	}
	n, ok := x.(int64)
	if !ok {
		cure := ""
		switch x := x.(type) {
		case string:
			cure = "write the number without quotes"
		case float64:
			cure = fmt.Sprintf("write %.0f", x)
		}
		v.wrongType(key, "an integer", cure)
		return def
	}
	if n < lo || n > hi {
		v.bad(key, fmt.Sprintf("is outside %d..%d", lo, hi), "")
		return def
	}
	return n
}

// choice is one of a few words.
func (v view) choice(key, def string, words ...string) string {
	s := v.str(key, def)
	for _, w := range words {
		if s == w {
			return s
		}
	}
	if v.has(key) && s != def {
		cure := ""
		if near := nearest(s, words); near != "" {
			cure = fmt.Sprintf("did you mean %q?", near)
		}
		v.bad(key, "must be "+alternatives(words), cure)
	}
	return def
}

func alternatives(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	if len(q) == 1 {
		return q[0]
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}

// duration within lo..hi; a text with a unit.
func (v view) duration(key string, def, lo, hi time.Duration) time.Duration {
	x, _, ok := v.get(key)
	if !ok {
		return def
	}
	switch x := x.(type) {
	case string:
		d, err := time.ParseDuration(x)
		if err != nil {
			cure := `write a number with a unit, as "2s", "100ms" or "5m"`
			if isNumber(x) {
				cure = fmt.Sprintf(`write "%ss" if seconds are meant`, x)
			}
			v.bad(key, "is no duration", cure)
			return def
		}
		if d < lo || d > hi {
			v.bad(key, fmt.Sprintf("is outside %s..%s", short(lo), short(hi)), "")
			return def
		}
		return d
	case int64, float64:
		v.bad(key, "is a duration without a unit", fmt.Sprintf(`write "%vs" if seconds are meant`, x))
	default:
		v.wrongType(key, `a duration, a text as "2s"`, "")
	}
	return def
}

// isNumber tells whether a text is a plain number without a unit.
func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && c != '.' {
			return false
		}
	}
	return s != ""
}

// short is a duration without zero parts: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// item is one element of a list.
type item struct {
	value any
	at    *path
}

// list of values; a table alone is no list.
func (v view) list(key string) []item {
	x, l, ok := v.get(key)
	if !ok {
		return nil
	}
	at := l.at.child(key)
	if rows, short := x.(*serverRows); short {
		x = rows.tables()
	}
	switch a := x.(type) {
	case []any:
		out := make([]item, len(a))
		for i := range a {
			out[i] = item{a[i], at.at(i)}
		}
		return out
	case []map[string]any:
		out := make([]item, len(a))
		for i := range a {
			out[i] = item{a[i], at.at(i)}
		}
		return out
	}
	cure := ""
	switch x := x.(type) {
	case string:
		cure = fmt.Sprintf("write %s = [%s]", keyText(key), quote(x))
	case map[string]any:
		cure = fmt.Sprintf("write %s = [{ … }]", keyText(key))
		if at.up.up == nil {
			cure = fmt.Sprintf("write [[%s]], with two brackets", keyText(key))
		}
	}
	v.wrongType(key, "a list", cure)
	return nil
}

// texts is a list of strings, with where each stands.
func (v view) texts(key string) []text {
	var out []text
	for _, it := range v.list(key) {
		s, ok := it.value.(string)
		if !ok {
			v.r.add(finding{at: it.at, what: "must be a text in quotes"})
			continue
		}
		out = append(out, text{s, it.at})
	}
	return out
}

type text struct {
	s  string
	at *path
}

// tables is a list of tables.
func (v view) tables(key string) []layer {
	var out []layer
	for _, it := range v.list(key) {
		m, ok := it.value.(map[string]any)
		if !ok {
			v.r.add(finding{at: it.at, what: "must be a table", cure: "write { … } with keys inside"})
			continue
		}
		out = append(out, layer{m, it.at})
	}
	return out
}

// children are the tables inside a table of tables, by name.
func (l layer) children(r *report, key string) []layer {
	x, ok := l.m[key]
	if !ok {
		return nil
	}
	at := l.at.child(key)
	m, ok := x.(map[string]any)
	if !ok {
		r.add(finding{at: at, what: "must be a table of tables", cure: fmt.Sprintf("write [%s.NAME]", key)})
		return nil
	}
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	var out []layer
	for _, n := range names {
		t, ok := m[n].(map[string]any)
		if !ok {
			r.add(finding{at: at.child(n), what: "must be a table", cure: fmt.Sprintf("write [%s.NAME]", key)})
			continue
		}
		out = append(out, layer{t, at.child(n)})
	}
	return out
}

// name of the table itself, its key in the table around it.
func (l layer) name() string { return l.at.key }
