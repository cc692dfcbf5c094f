package conf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// noFiles is a file system without a file.
var noFiles = files{
	read: func(string) ([]byte, error) { return nil, errors.New("no files here") },
	glob: func(string) ([]string, error) { return nil, nil },
}

func seeds(f *testing.F) {
	f.Helper()
	for _, dir := range []string{"testdata/good", "testdata/bad"} {
		es, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range es {
			if !strings.HasSuffix(e.Name(), ".toml") {
				continue
			}
			data, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	f.Add("a.b.\"c\\u00e9\".'d e' = [{x=1,y={z=[1,2,{w=\"]}\"}]}}]\n[[q]]\n[[q.r]]\ns='''\n''''\n[q.t]\nu=\"\"\"a\\\"\"\"\"\"\n")
	f.Add("[a.b]\nx=1\n[a]\ny = 1979-05-27T07:32:00Z\n[[a.c]]\n[a.c.d]\n[[a.c]]\n")
	f.Add(layers)
}

// FuzzParse: any text gives a configuration or errors, never a panic, and
// each problem has a place within the text.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, node := range []string{"lb1", ""} {
			c, ps := parse(noFiles, "x.toml", []byte(text), node)
			if (c == nil) != (len(ps.Errors()) > 0) {
				t.Fatalf("configuration %v with problems %v", c != nil, ps)
			}
			for _, p := range ps {
				if p.Line < 0 || p.Line > lines || p.Line > 0 && p.Column < 1 || p.What == "" || p.File == "" {
					t.Fatalf("%+v", p)
				}
			}
		}
		_ = validate(noFiles, "x.toml", []byte(text)).String()
	})
}

// FuzzRows: reading rows beside the decoder makes no difference.
func FuzzRows(f *testing.F) {
	seeds(f)
	f.Add(string(manyServers(3, "1s")))
	f.Add("a = [{b=1,c=true, d = \"x\"}, # comment\n {e=false}\r\n, {}]\nb=[[{x=1}],{y=[{z=1}]}]\n[[c]]\n[[c.d]]\ne=[{f=0}]")
	f.Fuzz(func(t *testing.T, text string) {
		if nestedTooDeep(text) {
			t.Skip()
		}
		fast, slow := &source{text: text}, &source{text: text}
		_, err1 := fast.decode(0, 1)
		_, err2 := toml.Decode(text, &slow.root)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q: %v with rows, %v without", text, err1, err2)
		}
		if err2 == nil && fmt.Sprintf("%#v", fast.root) != fmt.Sprintf("%#v", slow.root) {
			t.Fatalf("%q:\n%#v with rows\n%#v without", text, fast.root, slow.root)
		}
	})
}

// FuzzLocate: every value that the decoder finds has a place in the text, and
// what stands at the place of a text or number is that text or number.
func FuzzLocate(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		if nestedTooDeep(text) || strings.Contains(text, `\u0000`) || strings.Contains(text, `\U00000000`) || strings.Contains(text, `\x00`) {
			t.Skip() // a zero octet in a key is not told apart
		}
		s := &source{name: "x", text: text}
		if _, err := toml.Decode(text, &s.root); err != nil {
			t.Skip()
		}
		wanted := map[string]*spot{}
		values := map[string]any{}
		var walk func(p *path, v any)
		walk = func(p *path, v any) {
			if p.up != nil {
				wanted[p.encode()] = &spot{}
				values[p.encode()] = v
			}
			switch v := v.(type) {
			case map[string]any:
				for k, x := range v {
					walk(p.child(k), x)
				}
			case []any:
				for i, x := range v {
					walk(p.at(i), x)
				}
			case []map[string]any:
				for i, x := range v {
					walk(p.at(i), x)
				}
			}
		}
		walk(s.top(), s.root)
		locate(text, wanted)
		for k, sp := range wanted {
			if !sp.found {
				t.Fatalf("%q was not found in %q", k, text)
			}
			var back map[string]any
			switch v := values[k].(type) {
			case string, int64, bool:
				rest := text[sp.value:]
				if !strings.HasPrefix(rest, `"""`) && !strings.HasPrefix(rest, `'''`) {
					rest, _, _ = strings.Cut(rest, "\n")
				}
				found := false
				for end := len(rest); end > 0 && !found; end-- { // the value and perhaps what follows it
					_, err := toml.Decode("x = "+rest[:end], &back)
					found = err == nil && back["x"] == v
					if len(rest)-end > 200 {
						t.Skip()
					}
				}
				if !found {
					t.Fatalf("%q = %v is not what stands at %d of %q", k, v, sp.value, text)
				}
			}
		}
	})
}
