package conf

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected messages of the fixtures")

func fixtures(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
	if err != nil || len(names) == 0 {
		t.Fatal("no fixtures", err)
	}
	return names
}

// messages of a fixture: of Load for the node that its first line names, or of
// Validate.
func messages(t *testing.T, name string) (string, Problems) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var ps Problems
	if first, _, _ := strings.Cut(string(data), "\n"); strings.HasPrefix(first, "# node ") {
		var c *Config
		if c, ps = Load(name, strings.TrimPrefix(first, "# node ")); c != nil && len(ps.Errors()) > 0 {
			t.Error("a configuration in spite of errors")
		}
	} else {
		ps = Validate(name)
	}
	s := ps.String()
	if s != "" {
		s += "\n" + ps.Count() + "\n"
	}
	return strings.ReplaceAll(s, filepath.Dir(name)+"/", ""), ps
}

// compare with the file beside the fixture; none means no message.
func compare(t *testing.T, name, got string) {
	t.Helper()
	file := strings.TrimSuffix(name, ".toml") + ".want"
	want, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if *update && got != string(want) {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

func TestGoodFixtures(t *testing.T) {
	for _, name := range fixtures(t, "good") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			got, ps := messages(t, name)
			if err := ps.Err(); err != nil {
				t.Error(err)
			}
			compare(t, name, got)
		})
	}
}

func TestBadFixtures(t *testing.T) {
	for _, name := range fixtures(t, "bad") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			got, ps := messages(t, name)
			if len(ps) == 0 {
				t.Error("nothing was reported")
			}
			compare(t, name, got)
		})
	}
}

const referenceFile = "testdata/good/reference.toml"

// TestReferenceHasEveryKey holds the schema and the documented file together.
func TestReferenceHasEveryKey(t *testing.T) {
	data, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{fs: realFiles, pools: map[string]layer{}, checks: map[string]layer{}}
	seen := map[kind]map[string]bool{}
	l.seen = func(k kind, key string) {
		if seen[k] == nil {
			seen[k] = map[string]bool{}
		}
		seen[k][key] = true
	}
	l.open(referenceFile, string(data))
	text := string(data)
	for k := range kinds {
		for _, w := range keysOf(k) {
			if k == kindInclude || seen[k][w] {
				continue
			}
			if k == kindDefaults || k == kindDefaultsCheck || k == kindPool || k == kindService || checkKey(w) {
				if strings.Contains(text, "\n"+w+" = ") || strings.Contains(text, "\n# "+w+" = ") {
					continue // shared keys stand in one of the layers
				}
			}
			t.Errorf("key %q of table kind %d does not appear in %s", w, k, referenceFile)
		}
	}
}

func checkKey(w string) bool { return strings.Contains(checkKeys+" address port hold ", " "+w+" ") }

// TestEveryKeyIsRead puts a date in place of each value of the reference file
// in turn: no key takes one, so each must be complained about.
func TestEveryKeyIsRead(t *testing.T) {
	data, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	date := time.Date(1979, 5, 27, 0, 0, 0, 0, time.UTC)
	probe := newLoader(realFiles, referenceFile, string(data), manyRows)
	n := 0
	var walk func(p *path, v any, set func(any))
	walk = func(p *path, v any, set func(any)) {
		if p.up != nil {
			n++
			set(date)
			l := &loader{fs: realFiles, pools: map[string]layer{}, checks: map[string]layer{}}
			src := probe.sources[0]
			l.sources = []*source{src}
			l.adopt(src, referenceFile)
			for _, name := range []string{"lb1", "lb2"} {
				l.build(name)
			}
			if len(l.problems().Errors()) == 0 {
				o, _, k := p.describe()
				t.Errorf("a date as %s %s was accepted", o, k)
			}
			set(v)
		}
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(p.child(k), x, func(y any) { v[k] = y })
			}
		case []any:
			for i, x := range v {
				walk(p.at(i), x, func(y any) { v[i] = y })
			}
		case []map[string]any:
			for i, x := range v {
				walk(p.at(i), x, func(y any) {
					if m, ok := y.(map[string]any); ok {
						v[i] = m
					} else {
						v[i] = map[string]any{"bad": y}
					}
				})
			}
		}
	}
	walk(probe.sources[0].top(), probe.sources[0].root, nil)
	if n < 150 {
		t.Errorf("only %d values were tried", n)
	}
}
