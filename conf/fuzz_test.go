package conf

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// noFiles is a file system without a file.
var noFiles = files{
	read: func(string) (string, error) { return "", errors.New("no files here") },
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
			c, ps := parse(noFiles, "x.toml", text, node, manyRows)
			if (c == nil) != (len(ps.Errors()) > 0) {
				t.Fatalf("configuration %v with problems %v", c != nil, ps)
			}
			for _, p := range ps {
				if p.Line < 0 || p.Line > lines || p.Line > 0 && p.Column < 1 || p.What == "" || p.File == "" {
					t.Fatalf("%+v", p)
				}
			}
		}
		_ = validate(noFiles, "x.toml", text).String()
	})
}

func tooDeep(text string) bool {
	_, _, err := cutRows(text, 1)
	return err != nil
}

// FuzzRows: reading rows beside the decoder makes no difference.
func FuzzRows(f *testing.F) {
	seeds(f)
	f.Add(string(manyServers(3, "1s")))
	f.Add("a = [{b=1,c=true, d = \"x\"}, # comment\n {e=false}\r\n, {}]\nb=[[{x=1}],{y=[{z=1}]}]\n[[c]]\n[[c.d]]\ne=[{f=0}]")
	f.Fuzz(func(t *testing.T, text string) {
		if tooDeep(text) {
			t.Skip()
		}
		fast, slow := &source{text: text}, &source{text: text}
		_, err1 := fast.decode(1)
		_, err2 := toml.Decode(text, &slow.root)
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q: %v with rows, %v without", text, err1, err2)
		}
		if err2 == nil && fmt.Sprintf("%#v", fast.root) != fmt.Sprintf("%#v", slow.root) {
			t.Fatalf("%q:\n%#v with rows\n%#v without", text, fast.root, slow.root)
		}
	})
}

// rowTexts differ in the rows of their servers, good and bad ones.
func rowTexts(yield func(string)) {
	rows := []string{
		`{ name = "a", address = "10.0.0.1" }`, `{ name = "a", address = "10.0.0.2", weight = 5 }`,
		`{ name = "b", address = "10.0.0.1", port = 80 }`, `{ name = "c", address = "10.0.0.3", port = 81 }`,
		`{ name = "v", address = "10.0.0.19", port = 81 }`, `{ name = "w", address = "10.0.0.20", port = 0 }`, `{ name = "x", address = "10.0.0.21", port = 0 }`,
		`{ name = "d", address = "10.0.0.4", enabled = false, weight = 0 }`, `{name="e",address="10.0.0.5",enabled=true} # last`,
		`{ address = "10.0.0.6" }`, `{ name = "f" }`, `{ name = "-", address = "10.0.0.7" }`, `{ name = "g", address = "2001:db8::1" }`,
		`{ name = "h", address = "224.0.0.1" }`, `{ name = "i", address = "10.0.0.8", weight = 65536 }`, `{ name = "j", address = "10.0.0.9", fwmark = 1 }`,
		`{ name = "k", address = "10.0.0.10", port = 65536 }`, `{ name = "l", address = 1 }`, `{ name = "m", address = "10.0.0.11:80" }`,
		`{ name = "n", address = "10.0.0.12", max_connections = 7 }`, `{ name = "s", address = "10.0.0.16", max_connections = 4294967295, min_connections = 7 }`,
		`{ name = "t", address = "10.0.0.17", min_connections = 30 }`, `{ name = "u", address = "10.0.0.18", max_connections = 4294967296 }`, `{ name = "o", address = "10.0.0.13", forward = "nat", port = 8080 }`, `{}`, `7`,
		`{ name = "p", address = "10.0.0.14", weight = -1 }`, `{ name = "q", address = "::ffff:10.0.0.1" }`, `{ name = "r", address = "10.0.0.15", checks = [] }`,
	}
	tops := []string{
		"", "forward = \"nat\"", "forward = \"tun\"\ntunnel = { type = \"gue\", port = 6080 }", "weight = 3\nenabled = false\nchecks_pass = \"any\"",
		"max_connections = 10\nmin_connections = 20", "max_connections = 20\nmin_connections = 10", "port = 0", "address = \"nonsense\"",
	}
	for _, top := range tops {
		for i := range rows {
			for _, j := range []int{0, i, (i + 1) % len(rows), (i + 3) % len(rows)} {
				address := "address = \"192.0.2.1\"\n"
				if strings.HasPrefix(top, "address") {
					address = ""
				}
				port := "port = 80\n"
				if strings.HasPrefix(top, "port") {
					port = ""
				}
				source := "192.0.2.3"
				if (i+j)%7 == 6 {
					source = "2001:db8::2"
				}
				yield("version = 1\n[check.c]\ntype = \"tcp\"\n[check.d]\ntype = \"icmp\"\nsource = \"" + source + "\"\n[[service]]\nname = \"s\"\n" + address + port + top +
					"\nchecks = [\"c\", \"d\"]\nservers = [" + rows[i] + ",\n" + rows[j] + "\n]\n" +
					"[pool.p]\nservers = [" + rows[j] + "\n, " + rows[i] + "\n]\n[[service]]\nname = \"t\"\npool = \"p\"\nfwmark = 7\n")
			}
		}
	}
}

// sameWithRows: reading rows beside the decoder, and servers from rows, makes
// no difference to a configuration, its hash or what is wrong with it.
func sameWithRows(t *testing.T, text string) {
	t.Helper()
	c1, ps1 := parse(noFiles, "x.toml", text, "lb1", 1)
	c2, ps2 := parse(noFiles, "x.toml", text, "lb1", 0)
	if !slices.Equal(ps1, ps2) {
		t.Fatalf("%s\n%v\nwith rows\n%v\nwithout", text, ps1, ps2)
	}
	if !reflect.DeepEqual(c1, c2) {
		t.Fatalf("%s\n%+v\nwith rows\n%+v\nwithout", text, c1, c2)
	}
}

func TestServersFromRows(t *testing.T) {
	n, good := 0, 0
	rowTexts(func(text string) {
		sameWithRows(t, text)
		if c, _ := parse(noFiles, "x.toml", text, "", 1); c != nil {
			good++
		}
		n++
	})
	if good < n/100 {
		t.Errorf("only %d of %d texts are good", good, n)
	}
}

// FuzzServersFromRows is TestServersFromRows for any text.
func FuzzServersFromRows(f *testing.F) {
	seeds(f)
	n := 0
	rowTexts(func(text string) {
		if n++; n%37 == 0 {
			f.Add(text)
		}
	})
	f.Fuzz(func(t *testing.T, text string) { sameWithRows(t, text) })
}

// FuzzLocate: every value that the decoder finds has a place in the text, and
// what stands at the place of a text or number is that text or number.
func FuzzLocate(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		if tooDeep(text) || strings.Contains(text, `\u0000`) || strings.Contains(text, `\U00000000`) || strings.Contains(text, `\x00`) {
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
		locate(text, wanted, nil)
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
