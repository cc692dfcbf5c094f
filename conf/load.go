package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
)

// Load reads a file and its includes as the given node sees them. The
// configuration is nil if there is an error among the problems.
func Load(path, node string) (*Config, Problems) {
	text, err := readFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return parse(realFiles, path, text, node, manyRows)
}

// Parse is Load for a text that was read already; includes are looked up
// beside file.
func Parse(file string, data []byte, node string) (*Config, Problems) {
	return parse(realFiles, file, string(data), node, manyRows)
}

// Validate checks a file and its includes for every node in it; each problem
// comes once.
func Validate(path string) Problems {
	text, err := readFile(path)
	if err != nil {
		return unreadable(path, err)
	}
	return validate(realFiles, path, text)
}

func unreadable(path string, err error) Problems {
	p := Problem{File: path, What: "cannot read the configuration: " + why(err)}
	switch {
	case errors.Is(err, errTooLarge):
		p.Cure = "is it the right file? One that is really so large can be split with include"
	case errors.Is(err, fs.ErrPermission):
		p.Cure = "the packaged agent reads it as user lvs-ha: chgrp lvs-ha, chmod g+r"
	default:
		p.Cure = "check its name, or name another one: lvs-ha validate FILE, lvs-ha run --config FILE"
	}
	return Problems{p}
}

// parse with rows of at least so many in a list read beside the decoder; 0 for none.
func parse(fs files, file, text, node string, rows int) (*Config, Problems) {
	l := newLoader(fs, file, text, rows)
	var c *Config
	if l.ok {
		c = l.build(node)
	}
	ps := l.problems()
	if len(ps.Errors()) > 0 {
		return nil, ps
	}
	return c, ps
}

func validate(fs files, file, text string) Problems {
	l := newLoader(fs, file, text, manyRows)
	if l.ok {
		for _, n := range l.nodeNames() {
			l.build(n)
		}
	}
	return l.problems()
}

// loader holds the decoded files and collects what is wrong with them.
type loader struct {
	report
	fs       files
	rows     int
	ok       bool // the files could be decoded
	sources  []*source
	main     layer
	nodes    []layer // in the order of the file
	vrrp     []layer // sorted by name
	pools    map[string]layer
	checks   map[string]layer
	services []layer
}

func newLoader(fs files, file, text string, rows int) *loader {
	l := &loader{fs: fs, rows: rows, pools: map[string]layer{}, checks: map[string]layer{}}
	l.open(file, text)
	return l
}

func (l *loader) open(file, text string) {
	if src := l.source(file, text); src != nil {
		l.ok = true
		l.adopt(src, file)
	}
}

// adopt the main file.
func (l *loader) adopt(src *source, file string) {
	l.main = layer{src.root, src.top()}
	l.keys(l.main, kindTop)
	l.nodes = l.main.children(&l.report, "nodes")
	rank := make(map[string]int, len(src.nodes))
	for i, n := range src.nodes {
		rank[n] = i
	}
	sort.SliceStable(l.nodes, func(i, j int) bool { return rank[l.nodes[i].name()] < rank[l.nodes[j].name()] })
	l.vrrp = l.main.children(&l.report, "vrrp")
	l.shared(l.main)
	l.includes(file)
	l.structure()
}

func (l *loader) source(file, text string) *source {
	s := &source{name: file, order: len(l.sources), text: text}
	l.sources = append(l.sources, s)
	if p := s.parse(l.rows); p != nil {
		l.report.problems = append(l.report.problems, *p)
		return nil
	}
	return s
}

// shared takes the tables that may stand in an included file too.
func (l *loader) shared(top layer) {
	for _, p := range top.children(&l.report, "pool") {
		if old, dup := l.pools[p.name()]; dup {
			l.duplicate("pool", p.name(), p.at, old.at)
			continue
		}
		l.pools[p.name()] = p
	}
	for _, c := range top.children(&l.report, "check") {
		if old, dup := l.checks[c.name()]; dup {
			l.duplicate("check", c.name(), c.at, old.at)
			continue
		}
		l.checks[c.name()] = c
	}
	l.services = append(l.services, l.view(top).tables("service")...)
}

func (l *loader) duplicate(what, name string, at, old *path) {
	objects, _, keys := at.describe()
	if objects == "" { // of a table that is no list
		objects = what + " " + quote(name)
	}
	f := finding{at: at, part: atTable, where: objects, what: "already defined at %PLACE%", other: old, cure: "rename one of them"}
	if keys != "" {
		f.part = atValue
	}
	l.add(f)
}

func (l *loader) view(ls ...layer) view { return view{&l.report, ls} }

// includes reads the files that the patterns of include name.
func (l *loader) includes(file string) {
	dir := filepath.Dir(file)
	seen := map[string]bool{filepath.Clean(file): true}
	for _, t := range l.view(l.main).texts("include") {
		pattern := t.s
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		names, err := l.fs.glob(pattern)
		if err != nil {
			l.add(finding{at: t.at, what: "is no valid pattern", cure: `* and ? stand for any text and any character, as in "conf.d/*.toml"`})
			continue
		}
		if len(names) == 0 && !strings.ContainsAny(pattern, "*?[") {
			l.add(finding{at: t.at, what: "names no file", cure: "included files are looked up beside this one"})
		}
		sort.Strings(names)
		for _, n := range names {
			if n = filepath.Clean(n); seen[n] {
				continue
			}
			seen[n] = true
			text, err := l.fs.read(n)
			if err != nil {
				l.add(finding{at: t.at, what: fmt.Sprintf("names %s, which cannot be read: %s", n, why(err))})
				continue
			}
			src := l.source(n, text)
			if src == nil {
				continue
			}
			top := layer{src.root, src.top()}
			for w := range top.m {
				if _, known := schema[kindInclude][w]; !known {
					f := finding{at: top.at.child(w), part: atKey, what: "unknown key", cure: unknownCure(w, kindInclude)}
					if _, known := schema[kindTop][w]; known {
						f.what, f.cure = "cannot stand in an included file", "only pools, checks and services can; move it to "+file
					}
					l.add(f)
				}
			}
			l.version(l.view(top), false)
			l.shared(top)
		}
	}
}

// version of the format; 1 is the only one so far.
func (l *loader) version(v view, required bool) {
	switch x, _, ok := v.get("version"); {
	case !ok && required:
		v.missing("version", "write version = 1 at the top: it names the format of this file")
	case ok && x != int64(1):
		v.bad("version", "is not a format that this version reads", "write version = 1")
	}
}

// problems gives every finding its place, and sorts.
func (l *loader) problems() Problems {
	wanted := make([]map[string]*spot, len(l.sources))
	var want func(p *path) *spot
	want = func(p *path) *spot {
		o := p.src.order
		if wanted[o] == nil {
			wanted[o] = map[string]*spot{}
		}
		if p.up == nil {
			return nil
		}
		k := p.encode()
		sp := wanted[o][k]
		if sp == nil {
			sp = &spot{up: want(p.up)} // the tables around it stand in for a place that is not found
			for up := sp.up; up != nil; up = up.up {
				up.open++
			}
			wanted[o][k] = sp
		}
		return sp
	}
	for _, f := range l.findings {
		want(f.at)
		if f.other != nil {
			want(f.other)
		}
	}
	starts := make([][]int, len(l.sources))
	for i, s := range l.sources {
		if wanted[i] != nil {
			locate(s.text, wanted[i], s.ends)
			starts[i] = lineStarts(s.text)
		}
	}
	place := func(p *path, part part) (line, column int) {
		s := p.src
		for ; p.up != nil; p, part = p.up, atTable {
			if sp := wanted[s.order][p.encode()]; sp.found {
				off := sp.key
				if part == atValue {
					off = sp.value
				}
				return lineColumn(s.text, starts[s.order], off)
			}
		}
		return 1, 1
	}

	rank := make(map[string]int, len(l.sources))
	for _, s := range l.sources {
		rank[s.name] = s.order
	}
	seen := map[Problem]bool{}
	var out Problems
	for _, p := range l.report.problems {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	for _, f := range l.findings {
		p := f.problem()
		p.Line, p.Column = place(f.at, f.part)
		if f.other != nil {
			line, _ := place(f.other, atValue)
			p.What = strings.Replace(p.What, "%PLACE%", fmt.Sprintf("%s:%d", f.other.src.name, line), 1)
		}
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		switch {
		case a.File != b.File:
			return rank[a.File] < rank[b.File]
		case a.Line != b.Line:
			return a.Line < b.Line
		case a.Column != b.Column:
			return a.Column < b.Column
		case a.Where != b.Where:
			return a.Where < b.Where
		default:
			return a.What < b.What
		}
	})
	return out
}

// problem without its place.
func (f finding) problem() Problem {
	p := Problem{File: f.at.src.name, Where: f.where, What: f.what, Cure: f.cure, Warning: f.warning}
	objects, header, keys := f.at.describe()
	switch f.part {
	case atKey:
		if p.Where == "" {
			if header == "" {
				header = objects
			}
			p.Where = strings.TrimSpace(header + " " + keys)
		}
		return p
	case atTable:
		if keys != "" && f.where == "" {
			objects = strings.TrimPrefix(objects+", "+keys, ", ")
		}
	case atValue:
		if keys != "" && f.where == "" {
			if s := show(f.at.value()); s != "{…}" && s != "[…]" && f.at.key != "password" {
				keys += " = " + s
			}
			p.What = keys + " " + p.What
		}
	}
	if p.Where == "" {
		p.Where = objects
	}
	return p
}

// value at a path.
func (p *path) value() any {
	v := any(p.src.root)
	for _, e := range p.elements() {
		v = step(v, e)
	}
	return v
}
