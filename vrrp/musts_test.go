package vrrp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryRuleHasItsTest: the table of rules names tests that exist, and every
// test named after a section is in it.
func TestEveryRuleHasItsTest(t *testing.T) {
	table, err := os.ReadFile("testdata/rfc9568.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, pattern := range []string{"*_test.go", "vrrptest/*_test.go", "speaker/*_test.go", "../internal/vip/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(table), -1)
	if len(named) < 80 {
		t.Errorf("the table names %d tests", len(named))
	}
	for _, n := range named {
		if !strings.Contains(source.String(), "func "+n[1]+"(") {
			t.Errorf("there is no %s", n[1])
		}
	}
	for _, n := range regexp.MustCompile(`func (TestRFC\w+)\(`).FindAllStringSubmatch(source.String(), -1) {
		if !strings.Contains(string(table), "`"+n[1]+"`") {
			t.Errorf("%s is not in the table", n[1])
		}
	}
}
