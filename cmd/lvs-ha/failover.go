package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"lvs-ha/internal/control"
	"lvs-ha/vrrp/link"
)

func failoverCommand(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("failover", flag.ContinueOnError)
	f.SetOutput(stderr)
	dir := f.String("runtime-dir", defaultRuntimeDir, "`directory` of the control socket")
	wait := f.Duration("for", 0, "do not take over again by preemption this long; 0: until the agent's next restart")
	force := f.Bool("force", false, "also where nobody is known to take over")
	f.Usage = func() {
		fmt.Fprint(stderr, `lvs-ha failover [--for D] [--force] INSTANCE

Hands the addresses of a VRRP instance over to the other director, in order:
this one goes on forwarding until that one is there.

  lvs-ha failover edge
  lvs-ha failover --for 30m edge

A backup is silent. A master that has not heard the other director since its
start refuses, for nobody may be there: see "lvs-ha status" on the other one,
then --force.

Exit status: 0 releasing; 2 wrong usage; 3 no agent; 4 not permitted; 5 refused;
6 no answer in time.

`)
		printFlags(f)
	}
	words, err := interspersed(f, args)
	if err != nil {
		return usageCode(err)
	}
	if len(words) != 1 {
		fmt.Fprintln(stderr, "lvs-ha failover: name one VRRP instance; \"lvs-ha status\" shows them")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	err = control.NewClient(filepath.Join(*dir, socketName)).Failover(ctx, link.Failover{Instance: words[0], For: *wait, Force: *force})
	if err != nil {
		fmt.Fprintf(stderr, "lvs-ha: %v\n", err)
		return control.ExitCode(err)
	}
	fmt.Fprintf(stdout, "%s: releasing the addresses\n", words[0])
	return exitOK
}
