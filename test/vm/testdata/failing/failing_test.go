// Package failing is a fixture of selftest: one test that passes, one that fails.
package failing

import "testing"

func TestPasses(t *testing.T) { t.Log("never seen") }

func TestFails(t *testing.T) {
	t.Run("part", func(t *testing.T) { t.Error("meant to fail") })
}
