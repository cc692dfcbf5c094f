package command

import (
	"os"
	"testing"
)

// What a program wrote before it ended is not lost when the goroutine that
// collects never came to run: a busy machine may keep it waiting.
func TestOutputOfAStarvedCollector(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() // kept open by somebody who has left the group
	if _, err := w.WriteString("said"); err != nil {
		t.Fatal(err)
	}
	never := make(chan struct{})
	close(never)
	out := &output{r: r, done: never}
	if got := out.end(); string(got) != "said" {
		t.Errorf("%q", got)
	}
}

// The end of output waits for nobody who keeps the pipe.
func TestOutputEndsAtOnce(t *testing.T) {
	out, in, err := collect()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for range 1000 {
		if _, err := in.WriteString("12345678"); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.end(); len(got) != maxOutput {
		t.Errorf("%d octets, want %d", len(got), maxOutput)
	}
	if _, err := in.WriteString("x"); err == nil {
		t.Error("somebody still reads")
	}
}
