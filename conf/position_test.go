package conf

import (
	"strings"
	"testing"
)

// TestTooDeep: closing brackets in texts do not hide how deep a text nests.
func TestTooDeep(t *testing.T) {
	for text, deep := range map[string]bool{
		"a = " + strings.Repeat("[", maxDepth) + "1" + strings.Repeat("]", maxDepth):                     false,
		"a = " + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1):                       true,
		"# " + strings.Repeat("]", 100) + "\na = " + strings.Repeat("[", 100) + strings.Repeat("]", 100): true,
		"a = " + strings.Repeat(`["]", `, 100) + "1" + strings.Repeat("]", 100):                          true,
		"a = " + strings.Repeat(`{ "}" = `, 100) + "1" + strings.Repeat("}", 100):                        true,
		"a = '" + strings.Repeat("[", 100) + "'":                                                         false,
	} {
		_, ps := parse(noFiles, "x.toml", text, "", manyRows)
		if got := strings.Contains(ps.String(), "nested more than"); got != deep {
			t.Errorf("%.30s…: too deep %v, want %v", text, got, deep)
		}
	}
}
