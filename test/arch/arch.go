// Package arch holds the import rules of the project and checks a source tree
// against them.
//
//	every .go file that is no test ──parse──▶ imports, selectors ──rules──▶ violations
//
// The rules are those of docs/architecture.md, "Who may import whom": arrows
// point from the wiring (cmd) through decisions (director) down to the leaves
// that do one thing, and never back.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A file is one source file that is no test.
type file struct {
	name string // path below the root
	pkg  string // directory, "." for the root: the package's path within the module
	// imports and uses are sorted by position.
	imports []ref // import paths, those of the module itself without its name
	uses    []ref // IMPORTPATH.Name of every selector on an imported package
}

type ref struct {
	what string
	own  bool // a package of this module
	line int
}

// Check reads the tree below the root of fsys, whose module is called module,
// and returns one line for each violation, "file:line: what".  Files that do
// not parse are reported too.  testdata, hidden directories, and nested modules are left out.
func Check(fsys fs.FS, module string) ([]string, error) {
	var files []file
	var found []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := path.Base(name)
			if name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil && name != "." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parse(name, src, module)
		if err != nil {
			found = append(found, err.Error())
			return nil
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the source tree: %w", err)
	}
	tree := newTree(files)
	for _, f := range files {
		for _, r := range f.imports {
			for _, rule := range importRules {
				if why := rule(tree, f.pkg, r.what, r.own); why != "" {
					found = append(found, fmt.Sprintf("%s:%d: %s imports %s: %s", f.name, r.line, f.pkg, r.what, why))
				}
			}
		}
		for _, u := range f.uses {
			for _, rule := range useRules {
				if why := rule(f.pkg, u.what); why != "" {
					found = append(found, fmt.Sprintf("%s:%d: %s uses %s: %s", f.name, u.line, f.pkg, u.what, why))
				}
			}
		}
	}
	sort.Strings(found)
	return slices.Compact(found), nil
}

func parse(name string, src []byte, module string) (file, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{name: name, pkg: path.Dir(name)}
	names := map[string]string{} // what a package is called in this file
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names[local] = p
		short, own := strings.CutPrefix(p, module+"/")
		f.imports = append(f.imports, ref{what: short, own: own, line: set.Position(spec.Pos()).Line})
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" {
			f.uses = append(f.uses, ref{what: names[x.Name] + "." + sel.Sel.Name, line: set.Position(sel.Pos()).Line})
		}
		return true
	})
	return f, nil
}

// tree knows which packages of the module import which.
type tree struct {
	imports map[string][]string
}

func newTree(files []file) *tree {
	t := &tree{imports: map[string][]string{}}
	for _, f := range files {
		for _, r := range f.imports {
			if r.own {
				t.imports[f.pkg] = append(t.imports[f.pkg], r.what)
			}
		}
	}
	return t
}

// utility: a package under internal that is no room and stands on nothing of
// the module but other utilities (internal/histogram); anybody may use it.
func (t *tree) utility(pkg string) bool {
	if !strings.HasPrefix(pkg, "internal/") || slices.Contains(rooms, pkg) {
		return false
	}
	for _, p := range t.imports[pkg] {
		if p == pkg || !t.utility(p) {
			return false
		}
	}
	return true
}
