package conf

import (
	"os"
	"path/filepath"
	"testing"
)

// What was read once says the same when its files have changed or are gone.
func TestTextsAreKept(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const service = "[[service]]\nname = \"web\"\naddress = \"192.0.2.1\"\nport = 80\nprotocol = \"tcp\"\nvrrp = \"none\"\nforward = \"nat\"\nscheduler = \"rr\"\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n"
	write("main.toml", "version = 1\ninclude = [\"d/*.toml\", \"one.toml\"]\n"+service)
	write("d/x.toml", "[pool.x]\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n")
	write("d/y.toml", "[pool.y]\nservers = [{ name = \"a\", address = \"10.0.0.1\" }]\n")
	write("one.toml", "[check.c]\ntype = \"tcp\"\n")
	main := filepath.Join(dir, "main.toml")
	want, texts, ps := LoadTexts(main, "lb1")
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	if len(texts) != 4 || texts[0].File != main {
		t.Fatalf("%d texts, the first of %s", len(texts), texts[0].File)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	got, ps := ParseTexts(texts, "lb1")
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	if got.Hash != want.Hash || got.Path != main {
		t.Errorf("hash %x and path %s, want %x and %s", got.Hash, got.Path, want.Hash, main)
	}
	texts[1].Text = "[pool.x]\nsrevers = []\n"
	if _, ps := ParseTexts(texts, "lb1"); ps.Err() == nil {
		t.Error("the kept text of an included file is not read")
	}
	if _, ps := ParseTexts(texts[:3], "lb1"); ps.Err() == nil {
		t.Error("a text that is not there is not missed")
	}
	if c, ps := ParseTexts(nil, "lb1"); c != nil || ps.Err() == nil {
		t.Error("nothing is read as a configuration")
	}
}
