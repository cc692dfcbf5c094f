package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValidateCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const doubtful = "version = 1\n[[service]]\nname = \"web\"\naddress = \"192.0.2.10\"\nport = 80\nservers = []\n"
	good, doubt, bad := write("good", "version = 1\n"), write("doubt", doubtful), write("bad", "version = 2\n")
	warning := "warning: " + doubt + `:6:11: service "web": servers = [] is empty: the service refuses every connection` + "\n1 warning.\n"
	wrong := bad + ":1:11: version = 2 is not a format that this version reads\n    write version = 1\n1 error.\n"
	for _, c := range []struct {
		args      string
		code      int
		out, errs string
	}{
		{good, exitOK, good + ": valid\n", ""},
		{doubt, exitOK, doubt + ": valid\n", warning},
		{bad, exitNo, "", wrong},
		{good + " " + bad + " " + doubt, exitNo, good + ": valid\n" + doubt + ": valid\n", wrong + warning},
		{"--quiet " + good + " " + doubt, exitOK, "", ""},
		{"--quiet " + bad, exitNo, "", wrong},
		{"--strict " + doubt, exitNo, "", warning},
	} {
		code, out, errs := run(append([]string{"validate"}, strings.Fields(c.args)...)...)
		if code != c.code || out != c.out || errs != c.errs {
			t.Errorf("%s: exit %d\n%s\n%s", c.args, code, out, errs)
		}
	}
}
