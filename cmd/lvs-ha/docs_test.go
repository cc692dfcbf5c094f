package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lvs-ha/conf"
)

// documents are those that people read, by name.
func documents(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatal("no documents", err)
	}
	out := map[string]string{}
	for _, n := range append(names, "../../README.md", "../../packaging/README.md", "../../packaging/lvs-ha.example.toml", "../../conf/testdata/good/reference.toml") {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = string(b)
	}
	return out
}

var tomlBlock = regexp.MustCompile("(?ms)^```toml\n(.*?)^```")

// Every piece of configuration in the documents is one: a whole file is valid
// on each node, and a part has no slip in it beyond what it leaves out.
func TestDocumentedConfigurations(t *testing.T) {
	whole, parts := 0, 0
	for name, text := range documents(t) {
		for _, m := range tomlBlock.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "version = 1\n") {
				whole++
				for _, node := range []string{"lb1", "lb2"} {
					if _, ps := conf.Parse(name, []byte(m[1]), node); len(ps) > 0 {
						t.Errorf("%s: %s\n%s", name, m[1], ps)
					}
				}
				continue
			}
			parts++
			_, ps := conf.Parse(name, []byte("version = 1\n"+m[1]), "")
			for _, p := range ps.Errors() {
				if !strings.HasSuffix(p.What, " is missing") && !strings.Contains(p.What, "is held by no VRRP instance") {
					t.Errorf("%s: %s\n%s", name, m[1], p)
				}
			}
		}
	}
	if whole < 2 || parts < 4 {
		t.Errorf("%d whole configurations and %d parts were found", whole, parts)
	}
}

var (
	spoken  = regexp.MustCompile("`((?:sudo )?lvs-ha [^`]+)`")
	typed   = regexp.MustCompile(`(?m)^(?:\$ |# )?(lvs-ha [a-z].*)$`)
	option  = regexp.MustCompile(`(^|[\s\[])--?([a-z][a-z-]*)`)
	comment = regexp.MustCompile(`\s+#.*$`)
)

// Every command in the documents is one, with options that it has.
func TestDocumentedCommands(t *testing.T) {
	help := map[string]string{}
	n := 0
	for name, text := range documents(t) {
		found := typed.FindAllStringSubmatch(text, -1)
		found = append(found, spoken.FindAllStringSubmatch(text, -1)...)
		for _, m := range found {
			line := comment.ReplaceAllString(strings.TrimPrefix(m[1], "sudo "), "")
			line, _, _ = strings.Cut(line, "|")
			words := strings.Fields(line)[1:]
			if words[0] == strings.ToUpper(words[0]) {
				continue // COMMAND
			}
			of := words[:1]
			if words[0] == "ipvs" && len(words) > 1 && words[1][0] != '-' {
				of = words[:2]
			}
			key := strings.Join(of, " ")
			if help[key] == "" {
				code, out, errs := run(append(append([]string{}, of...), "--help")...)
				if code != exitOK {
					t.Errorf("%s: %s: %s", name, m[1], errs)
					continue
				}
				help[key] = out
			}
			n++
			for _, o := range option.FindAllStringSubmatch(line, -1) {
				if flag := dashed(o[2]); o[2] != "help" && !strings.Contains(help[key], "\n  "+flag) {
					t.Errorf("%s: %s: there is no %s", name, m[1], flag)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d commands were found", n)
	}
}

var (
	linked  = regexp.MustCompile(`\]\(([^)#:]+)(?:#([^)]*))?\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// Links between the documents lead somewhere.
func TestDocumentedLinks(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			target := filepath.Join(filepath.Dir(name), m[1])
			b, err := os.ReadFile(target)
			if err != nil {
				if st, e := os.Stat(target); e != nil || !st.IsDir() {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if m[2] == "" {
				continue
			}
			there := false
			for _, h := range heading.FindAllStringSubmatch(string(b), -1) {
				there = there || strings.EqualFold(strings.ReplaceAll(h[1], " ", "-"), m[2])
			}
			if !there {
				t.Errorf("%s: %s has no heading %s", name, m[1], m[2])
			}
		}
	}
}
