package conf

import "fmt"

// structure looks at every table once, whoever uses it: unknown keys, names,
// types of checks.
func (l *loader) structure() {
	l.version(l.view(l.main), true)
	for _, n := range l.nodes {
		l.name("node", n)
		l.keys(n, kindNode)
		for _, i := range n.children(&l.report, "vrrp") {
			l.vrrpKeys(i)
			if !hasName(l.vrrp, i.name()) {
				l.add(finding{at: i.at, part: atTable, what: fmt.Sprintf("overrides [vrrp.%s], which does not exist", keyText(i.name())),
					cure: didYouMean(i.name(), namesOf(l.vrrp))})
			}
		}
		l.plain(n)
	}
	if d, ok := l.inside(l.main, "defaults", kindDefaults); ok {
		l.serviceKeys(d)
		l.inside(d, "check", kindDefaultsCheck)
	}
	l.plain(l.main)
	for _, i := range l.vrrp {
		l.name("vrrp", i)
		if i.name() == "none" {
			l.add(finding{at: i.at, part: atTable, what: `cannot be a name: services write vrrp = "none" for no instance`, cure: "rename it"})
		}
		l.vrrpKeys(i)
	}
	for _, c := range l.checks {
		l.name("check", c)
		l.checkKeys(c)
	}
	for _, p := range l.pools {
		l.name("pool", p)
		l.keys(p, kindPool)
		l.serviceKeys(p)
		l.lists(p)
	}
	for _, s := range l.services {
		l.keys(s, kindService)
		l.serviceKeys(s)
		l.lists(s)
	}
}

// plain tables without names, at the top or of a node.
func (l *loader) plain(t layer) {
	l.inside(t, "process", kindProcess)
	l.inside(t, "sync", kindSync)
	l.inside(t, "http", kindHTTP)
	l.inside(t, "log", kindLog)
	if v, ok := l.inside(t, "ipvs", kindIPVS); ok {
		l.inside(v, "timeouts", kindTimeouts)
	}
}

// inside is the table under a key, with its keys looked at. What is no table
// is reported by whoever reads it.
func (l *loader) inside(t layer, word string, k kind) (layer, bool) {
	m, ok := t.m[word].(map[string]any)
	if !ok {
		return layer{}, false
	}
	in := layer{m, t.at.child(word)}
	l.keys(in, k)
	return in, true
}

func (l *loader) vrrpKeys(i layer) {
	l.keys(i, kindVRRP)
	l.inside(i, "garp", kindGARP)
	l.inside(i, "auth", kindAuth)
	for _, w := range []string{"addresses", "excluded"} {
		for _, t := range elements(i, w) {
			l.keys(t, kindAddress)
		}
	}
}

func (l *loader) serviceKeys(s layer) {
	l.inside(s, "persistence", kindPersistence)
	l.inside(s, "tunnel", kindTunnel)
	if sorry, ok := l.inside(s, "sorry", kindSorry); ok {
		l.inside(sorry, "tunnel", kindTunnel)
	}
}

// lists of tables in a service or pool.
func (l *loader) lists(s layer) {
	if rows, short := s.m["servers"].(*serverRows); !short || l.seen != nil || !rows.supported() {
		for _, srv := range elements(s, "servers") {
			l.keys(srv, kindServer)
			l.inside(srv, "tunnel", kindTunnel)
		}
	}
	for _, c := range elements(s, "check") {
		l.checkKeys(c)
	}
}

// elements of a list that are tables; others are reported by whoever reads them.
func elements(t layer, word string) []layer {
	var out []layer
	at := t.at.child(word)
	x := t.m[word]
	if rows, short := x.(*serverRows); short {
		x = rows.tables()
	}
	switch a := x.(type) {
	case []map[string]any:
		for i, m := range a {
			out = append(out, layer{m, at.at(i)})
		}
	case []any:
		for i, x := range a {
			if m, ok := x.(map[string]any); ok {
				out = append(out, layer{m, at.at(i)})
			}
		}
	}
	return out
}

// checkKeys looks at a check's type and keys. Keys of a type that does not
// exist are not judged.
func (l *loader) checkKeys(c layer) {
	v := l.view(c)
	x, _, ok := v.get("type")
	t, text := x.(string)
	k, known := checkKinds[t]
	switch {
	case !ok:
		// Not v.missing: without a type nobody looks at the other keys.
		l.add(finding{at: v.table(), part: atTable, what: "type is missing", cure: "write type = " + alternatives(checkTypes)})
	case !text:
		v.wrongType("type", "a text in quotes", "")
	case known:
		l.keys(c, k)
	default:
		v.bad("type", "is no type of check", didYouMean(t, checkTypes))
	}
}

func contains(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

// name of a table that is a key.
func (l *loader) name(what string, t layer) {
	if !validName(t.name()) {
		l.add(finding{at: t.at, part: atTable, where: what + " " + quote(t.name()), what: badName, cure: nameCure})
	}
}

const (
	badName  = "is not a usable name"
	nameCure = "letters, digits, '.', '_' and '-', at most 63, the first a letter or digit"
)

// validName tells whether a name is safe as a label, in a path and in a page.
func validName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !word && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

func namesOf(ls []layer) []string {
	out := make([]string, len(ls))
	for i, l := range ls {
		out[i] = l.name()
	}
	return out
}

func hasName(ls []layer, name string) bool {
	for _, l := range ls {
		if l.name() == name {
			return true
		}
	}
	return false
}

func (l *loader) nodeNames() []string {
	if len(l.nodes) == 0 {
		return []string{""}
	}
	return namesOf(l.nodes)
}
