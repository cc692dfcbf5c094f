package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvs-ha/internal/logging"
)

// What was accepted is there again when the files, included ones too, are
// broken; what was loaded but not accepted never takes its place.
func TestAcceptedTexts(t *testing.T) {
	dir := t.TempDir()
	o := runOptions{config: filepath.Join(dir, "lvs-ha.toml"), node: "lb1", runtimeDir: t.TempDir()}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	log := logging.New(&said, "warn", "text")
	write("lvs-ha.toml", "version = 1\ncluster = \"first\"\ninclude = [\"pools.toml\"]\n"+
		"[vrrp.a]\ninterface = \"eth0\"\nvrid = 1\npriority = 255\naddresses = [\"10.0.0.9\"]\n")
	write("pools.toml", "[pool.a]\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n")
	a := &acceptedTexts{o: o}
	if _, err := a.again(); err == nil {
		t.Error("nothing was accepted yet, and something is there")
	}
	c, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	write("pools.toml", "nonsense") // between reading and accepting
	a.keep(c, log)
	// What is doubtful is told once, as any other event.
	if s := said.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "event=config_warning") || !strings.Contains(s, `line=7 subject="vrrp \"a\""`) {
		t.Errorf("of the doubtful priority: %q", s)
	}
	write("lvs-ha.toml", "version = 1\ncluster = \"second\"\n")
	if _, err := a.load(); err != nil { // and refused later
		t.Fatal(err)
	}
	write("lvs-ha.toml", "nonsense")
	b := &acceptedTexts{o: o} // the next process
	if _, err := b.load(); err == nil {
		t.Fatal("nonsense is loaded")
	}
	got, err := b.again()
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != c.Hash || got.Cluster != "first" || got.Path != o.config {
		t.Errorf("hash %x, cluster %s, path %s came back; want %x, first, %s", got.Hash, got.Cluster, got.Path, c.Hash, o.config)
	}
	b.keep(got, log)
	if _, err := b.again(); err != nil {
		t.Error("keeping what came back:", err)
	}
	if err := os.WriteFile(b.path(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.again(); err == nil {
		t.Error("a broken copy is read")
	}
}
