// Command lvs-ha makes a pair of Linux directors highly available: it probes
// real servers, keeps the kernel's IPVS table and elects who holds the
// virtual addresses.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"strings"

	"lvs-ha/conf"
)

// Set by the linker.
var (
	version  = "devel"
	revision = "unknown"
)

// Exit codes of all commands.
const (
	exitOK    = 0
	exitNo    = 1 // the answer is "no": invalid file, refused start
	exitUsage = 2
)

// command is one subcommand.
type command struct {
	run  func(args []string, stdout, stderr io.Writer) int
	help string // one line; empty hides it
}

func commands() map[string]command {
	return map[string]command{
		"run":      {runCommand, "run the agent on this director"},
		"director": {directorCommand, ""},
		"validate": {validateCommand, "check configuration files for every node in them"},
		"status":   {statusCommand, "show roles, addresses, services and servers of the running agent"},
		"reload":   {reloadCommand, "make the running agent read its configuration again, and wait for the result"},
		"failover": {failoverCommand, "hand the addresses of a VRRP instance to the other director"},

		"drain":       {adminCommand("drain"), "give servers no new connections"},
		"maintenance": {adminCommand("maintenance"), "take servers out that are going to be away"},
		"ready":       {adminCommand("ready"), "end drain and maintenance of servers"},
		"weight":      {adminCommand("weight"), "give servers another weight, or the configured one again"},
		"pause":       {adminCommand("pause"), "freeze the kernel's table while people repair something"},
		"resume":      {adminCommand("resume"), "end a pause"},

		"ipvs":    {ipvsCommand, "show the kernel's table, connections and counters; save and restore rules"},
		"version": {versionCommand, "print the version"},
	}
}

func main() {
	os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr))
}

func dispatch(args []string, stdout, stderr io.Writer) int {
	all := commands()
	if len(args) == 0 {
		usage(stderr, all)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) == 1 {
			usage(stdout, all)
			return exitOK
		}
		args = append(args[1:], "--help")
	case "-version", "--version":
		args = append([]string{"version"}, args[1:]...)
	}
	c, ok := all[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "lvs-ha: there is no command %q; %s\n", args[0], instead(args[0], all))
		return exitUsage
	}
	for _, a := range args[1:] {
		if a == "-h" || a == "-help" || a == "--help" {
			stderr = stdout // what was asked for is no error, and wants to go through a pager
		}
	}
	return c.run(args[1:], stdout, stderr)
}

// elsewhere are words that people try, and what does it.
var elsewhere = map[string]string{
	"start": "systemctl start lvs-ha, or lvs-ha run", "stop": "systemctl stop lvs-ha", "restart": "systemctl restart lvs-ha",
	"check": "lvs-ha validate", "test": "lvs-ha validate", "-t": "lvs-ha validate",
	"show": "lvs-ha status", "services": "lvs-ha status", "servers": "lvs-ha status --all", "vrrp": "lvs-ha status", "explain": "lvs-ha status",
	"list": "lvs-ha ipvs list", "-Ln": "lvs-ha ipvs list", "-L": "lvs-ha ipvs list", "conns": "lvs-ha ipvs conns",
	"undrain": "lvs-ha ready", "enable": "lvs-ha ready", "disable": "lvs-ha drain",
	"logs": "journalctl -u lvs-ha", "log": "journalctl -u lvs-ha", "events": "journalctl -u lvs-ha",
	"import": "docs/keepalived.md, by hand",
}

// instead of a command that does not exist.
func instead(word string, all map[string]command) string {
	if e := elsewhere[word]; e != "" {
		return "try: " + e
	}
	var names []string
	for n, c := range all {
		if c.help != "" {
			names = append(names, n)
		}
	}
	if near := conf.Nearest(word, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return `"lvs-ha help" lists them`
}

func usage(w io.Writer, all map[string]command) {
	fmt.Fprint(w, `lvs-ha makes a pair of Linux directors (LVS, IPVS) highly available.

  lvs-ha run --config /etc/lvs-ha/lvs-ha.toml
  lvs-ha validate lvs-ha.toml
  lvs-ha status

Commands ("lvs-ha COMMAND --help" tells more):
`)
	names := make([]string, 0, len(all))
	for n, c := range all {
		if c.help != "" {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	for _, n := range names {
		fmt.Fprintf(w, "  %-12s %s\n", n, all[n].help)
	}
}

func versionCommand(args []string, stdout, _ io.Writer) int {
	for _, a := range args {
		switch a {
		case "--short", "-short":
			fmt.Fprintln(stdout, version)
			return exitOK
		case "-h", "-help", "--help":
			fmt.Fprint(stdout, "lvs-ha version [--short]\n\nPrints the version, the revision and what it was built with; --short: the version alone.\n")
			return exitOK
		}
	}
	fmt.Fprintf(stdout, "lvs-ha %s (%s, %s %s/%s)\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}

// fail prints one sentence and gives the code for a refused start.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "lvs-ha: %s\n", strings.TrimSuffix(err.Error(), "\n"))
	return exitNo
}
