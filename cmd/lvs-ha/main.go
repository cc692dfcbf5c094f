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
		usage(stdout, all)
		return exitOK
	case "-version", "--version":
		args[0] = "version"
	}
	c, ok := all[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "lvs-ha: there is no command %q; \"lvs-ha help\" lists them\n", args[0])
		return exitUsage
	}
	return c.run(args[1:], stdout, stderr)
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
		if a == "--short" || a == "-short" {
			fmt.Fprintln(stdout, version)
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
