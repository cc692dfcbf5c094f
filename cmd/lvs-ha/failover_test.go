package main

import (
	"strings"
	"testing"
)

// Flags stand where people write them, as with the other commands.
func TestFailoverWords(t *testing.T) {
	dir := t.TempDir() // where no agent is
	for _, args := range [][]string{
		{"failover", "edge", "--runtime-dir", dir}, {"failover", "--runtime-dir", dir, "edge"}, {"failover", "--force", "edge", "--runtime-dir", dir, "--for", "1m"},
	} {
		var out, errs strings.Builder
		if code := dispatch(args, &out, &errs); code == exitUsage || code == exitOK || !strings.Contains(errs.String(), dir) {
			t.Errorf("%q: status %d, %s", args, code, errs.String())
		}
	}
	for _, args := range [][]string{{"failover"}, {"failover", "a", "b"}, {"failover", "--nonsense", "a"}} {
		var out, errs strings.Builder
		if code := dispatch(args, &out, &errs); code != exitUsage {
			t.Errorf("%q: status %d", args, code)
		}
	}
}
