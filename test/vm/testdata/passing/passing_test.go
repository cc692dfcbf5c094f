// Package passing is a fixture of selftest: one test that passes, one that is skipped.
package passing

import (
	"os"
	"strings"
	"testing"
)

func TestPasses(t *testing.T) {
	if _, err := os.ReadFile("testdata/there"); err != nil {
		t.Fatal(err)
	}
	if got := os.Getenv("LVSHA_REQUIRE"); !strings.HasPrefix(got, "netns,ipvs") {
		t.Fatalf("LVSHA_REQUIRE is %q", got)
	}
}

func TestSkips(t *testing.T) { t.Skip("for a reason") }
