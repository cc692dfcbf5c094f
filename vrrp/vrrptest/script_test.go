package vrrptest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

// TestStories compares the transcripts of whole stories with what they were.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			violation, err := RunScript(string(script), &got)
			if err != nil {
				t.Fatal(err)
			}
			if violation != "" {
				t.Error(violation)
			}
			golden := strings.TrimSuffix(file, ".txt") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("transcript differs (-want +got), see -update:\n%s", diff)
			}
		})
	}
}

func TestScriptErrors(t *testing.T) {
	for script, want := range map[string]string{
		"nonsense":                       `line 1: unknown word "nonsense"`,
		"node a color red":               `line 1: unknown option "color"`,
		"node a priority 256":            `line 1: strconv.ParseUint: parsing "256": value out of range`,
		"node a\n\nat 1s explode a":      `line 3: unknown op "explode"`,
		"node a\nat 1s crash z\nrun 10s": `line 2: cannot make sense of "z"`,
		"node a":                         "a story needs nodes and a run",
	} {
		if _, err := RunScript(script, &bytes.Buffer{}); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", script, err, want)
		}
	}
}
