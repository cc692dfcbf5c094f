package main

import (
	"strings"
	"testing"
)

// Trouble with the command line is one line that says what to write.
func TestWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"status --jsn":              "lvs-ha status: there is no option --jsn; \"lvs-ha status --help\" lists them",
		"status --json":             "lvs-ha status: there is no option --json; write -o json",
		"status --runtimedir x":     "lvs-ha status: there is no option --runtimedir; did you mean --runtime-dir?",
		"validate --node lb1 x":     "lvs-ha validate: there is no option --node; \"lvs-ha validate --help\" lists them",
		"drain web --for 2x":        "lvs-ha drain: --for \"2x\": write a time with its unit, as 90s, 30m or 2h",
		"pause --for 3600":          "lvs-ha pause: --for \"3600\": write a time with its unit, as 90s, 30m or 2h",
		"drain web --wait=soon":     "lvs-ha drain: --wait \"soon\": a time like 5m is wanted",
		"drain web --for":           "lvs-ha drain: --for needs a value behind it",
		"weight web/a -1":           "lvs-ha weight: \"-1\" is no weight: 0 to 65535, or auto",
		"ipvs list --watch=1":       "lvs-ha ipvs list: --watch \"1\": a time like 1s is wanted",
		"ipvs list --client 1.2.3.": "lvs-ha ipvs list: there is no option --client; \"lvs-ha ipvs list --help\" lists them",
		"statsu":                    "lvs-ha: there is no command \"statsu\"; did you mean \"status\"?",
		"explain web/web1":          "lvs-ha: there is no command \"explain\"; try: lvs-ha status",
		"import keepalived.conf":    "lvs-ha: there is no command \"import\"; try: docs/keepalived.md, by hand",
		"frobnicate":                "lvs-ha: there is no command \"frobnicate\"; \"lvs-ha help\" lists them",
		"--config x status":         "lvs-ha: there is no command \"--config\"; \"lvs-ha help\" lists them",
		"help nosuch":               "lvs-ha: there is no command \"nosuch\"; \"lvs-ha help\" lists them",
	} {
		code, out, errs := run(strings.Fields(args)...)
		if code != exitUsage || out != "" || errs != want+"\n" {
			t.Errorf("%s: exit %d\n%s%s", args, code, out, errs)
		}
	}
}

// Help that was asked for goes where a pager finds it, with options written as
// the documents write them.
func TestHelp(t *testing.T) {
	for name, c := range commands() {
		if c.help == "" {
			continue
		}
		for _, args := range [][]string{{name, "--help"}, {"help", name}} {
			code, out, errs := run(args...)
			if code != exitOK || errs != "" || !strings.HasPrefix(out, "lvs-ha "+name) || strings.Contains(out, "\n  -watch") || strings.Contains(out, "\n  -run") {
				t.Errorf("%s: exit %d\n%s%s", args, code, out, errs)
			}
		}
	}
	if _, out, _ := run("status", "--help"); !strings.Contains(out, "\n  --watch[=2s]\n") || !strings.Contains(out, "\n  -o form\n") {
		t.Error(out)
	}
	if _, out, _ := run("pause", "--help"); strings.Contains(out, "TARGET") {
		t.Error(out)
	}
	for name := range ipvsSubs() {
		if code, out, _ := run("ipvs", name, "--help"); code != exitOK || strings.Contains(out, "does:") || strings.Contains(out, "\n  -socket") {
			t.Errorf("%s: %s", name, out)
		}
	}
}
