package table

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTable(t *testing.T) {
	tab := Table{Head: []string{"NAME", "N", "WHY"}, Right: []int{1}}
	tab.Add(Text("web1"), Text("10"), Text(""))
	tab.Add(Text("a-longer-name"), Cell{"5", Bad}, Text("because – so"))
	for _, c := range []struct {
		name string
		term Terminal
		want string
	}{
		{"plain", Terminal{}, "NAME            N  WHY\nweb1           10\na-longer-name   5  because - so\n"},
		{"unicode, narrow", Terminal{Unicode: true, Width: 24}, "NAME            N  WHY\nweb1           10\na-longer-name   5  beca…\n"},
		{"ascii, narrow", Terminal{Width: 24}, "NAME            N  WHY\nweb1           10\na-longer-name   5  be...\n"},
		{"colour", Terminal{Colour: true}, "\x1b[1mNAME\x1b[0m            \x1b[1mN\x1b[0m  \x1b[1mWHY\x1b[0m\nweb1           10\na-longer-name   \x1b[31m5\x1b[0m  because - so\n"},
	} {
		if got := tab.String(c.term); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	if got := (&Table{Head: []string{"NAME"}}).String(Terminal{}); got != "" {
		t.Errorf("an empty table shows %q", got)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string][2]string{ // ASCII, Unicode
		"plain":                 {"plain", "plain"},
		"\x1b[31mred\x1b[0m":    {"[31mred[0m", "[31mred[0m"},
		"two\nlines\tand\rmore": {"two lines and more", "two lines and more"},
		"\u202eesrever\u2066":   {"esrever", "esrever"},
		"\u009b31mC1":           {"31mC1", "31mC1"},
		"zero\u200bwidth":       {"zerowidth", "zerowidth"},
		"bad\xff":               {"bad?", "bad?"},
		"größe…":                {"gr??e...", "größe…"},
		"\x00\a\b":              {"", ""},
	} {
		for i, u := range []bool{false, true} {
			if got := Clean(in, u); got != want[i] {
				t.Errorf("Clean(%q, %v) = %q, want %q", in, u, got, want[i])
			}
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("web1", "\x1b]0;title\a", 20, true)
	f.Add("größe", "   ", 3, false)
	f.Add("", "\xff\xfe", 0, true)
	f.Fuzz(func(t *testing.T, a, b string, width int, uni bool) {
		got := Line{Text(a), {b, Bad}}.String(Terminal{Width: width, Unicode: uni})
		body, ok := strings.CutSuffix(got, "\n")
		if !ok || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		for _, r := range body {
			if unicode.IsControl(r) || !uni && r > unicode.MaxASCII {
				t.Fatalf("%q lets %q through", got, r)
			}
		}
		if n := utf8.RuneCountInString(body); width > 3 && n > width {
			t.Fatalf("%q has %d columns, want at most %d", body, n, width)
		}
	})
}
