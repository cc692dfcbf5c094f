package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"
)

// ipvsSub is one subcommand of "lvs-ha ipvs".
type ipvsSub struct {
	help     string
	usage    string   // of its arguments
	examples []string // of what follows "lvs-ha ipvs"
	flags    []string // beside those that all have
	most     int      // arguments
	run      func(c *ipvsCall, args []string) error
}

func ipvsSubs() map[string]ipvsSub {
	shows := func(f func(*ipvsCall) frame) func(*ipvsCall, []string) error {
		return func(c *ipvsCall, _ []string) error { return c.show(f(c)) }
	}
	return map[string]ipvsSub{
		"list": {
			help:     "the kernel's table, as ipvsadm -Ln",
			examples: []string{`list`, `list --service 192.0.2.1 -o json`},
			flags:    []string{"watch", "service", "server"},
			run:      shows(func(c *ipvsCall) frame { return c.table(viewList) }),
		},
		"stats": {
			help:     "counters since the last zero, as ipvsadm -Ln --stats --exact",
			examples: []string{`stats`, `stats --service "tcp 192.0.2.1:80"`},
			flags:    []string{"watch", "service", "server"},
			run:      shows(func(c *ipvsCall) frame { return c.table(viewStats) }),
		},
		"rates": {
			help:     "the kernel's estimate per second, as ipvsadm -Ln --rate --exact",
			examples: []string{`rates --watch`, `rates --server 10.0.0.21`},
			flags:    []string{"watch", "service", "server"},
			run:      shows(func(c *ipvsCall) frame { return c.table(viewRates) }),
		},
		"conns": {
			help:     "connection entries, as ipvsadm -Lnc",
			examples: []string{`conns --client 203.0.113.7`, `conns --service "udp 192.0.2.1:53" --state udp`, `conns --origin -o json`},
			flags:    []string{"watch", "service", "server", "client", "state", "origin"},
			run:      shows(func(c *ipvsCall) frame { return c.connections }),
		},
		"daemon": {
			help:     "the sync daemons, as ipvsadm -Ln --daemon",
			examples: []string{`daemon`},
			flags:    []string{"watch"},
			run:      shows(func(c *ipvsCall) frame { return c.daemons }),
		},
		"timeouts": {
			help:     "the timeouts of connections, as ipvsadm -Ln --timeout and --set",
			usage:    "[set --tcp D --tcpfin D --udp D]",
			examples: []string{`timeouts`, `timeouts set --tcp 15m --udp 30s`},
			flags:    []string{"timeouts"},
			most:     1,
			run:      (*ipvsCall).timeoutsCommand,
		},
		"zero": {
			help:     "set counters to 0, as ipvsadm -Z",
			examples: []string{`zero`, `zero --service "tcp 192.0.2.1:80"`},
			flags:    []string{"service"},
			run:      (*ipvsCall).zero,
		},
		"save": {
			help:     "rules that restore and ipvsadm -R read, as ipvsadm -Sn",
			examples: []string{`save >rules`, `save --service "fwmark 7"`},
			flags:    []string{"service"},
			run:      (*ipvsCall).save,
		},
		"restore": {
			help:     "make services as in a file of rules, which ipvsadm -Sn may have written",
			usage:    "[FILE]",
			examples: []string{`restore --dry-run rules`, `restore rules`, `ipvsadm -Sn | ssh lb2 lvs-ha ipvs restore`},
			flags:    []string{"dry-run"},
			most:     1,
			run:      (*ipvsCall).restore,
		},
	}
}

func (c *ipvsCall) flagSet(name string, sub ipvsSub) *flag.FlagSet {
	f := flag.NewFlagSet("ipvs "+name, flag.ContinueOnError)
	f.SetOutput(c.stderr)
	f.StringVar(&c.runtimeDir, "runtime-dir", defaultRuntimeDir, "`directory` of the agent's control socket")
	f.StringVar(&c.socket, "socket", "", "`path` of the control socket (default agent.sock in the runtime directory)")
	f.StringVar(&c.output, "o", "text", "`form` of the output: text or json")
	f.BoolVar(&c.noColour, "no-color", false, "no colours (as NO_COLOR in the environment)")
	for _, flag := range sub.flags {
		switch flag {
		case "watch":
			f.Var(&c.watch, "watch", "show again each second, or as often as `--watch=2s` says")
		case "service":
			f.StringVar(&c.service, "service", "", "only this `service`: \"tcp 192.0.2.1:80\", 192.0.2.1, \"fwmark 7\", or its name in the agent's configuration")
		case "server":
			f.StringVar(&c.server, "server", "", "only real servers with this `address`, address:port or network")
		case "client":
			f.StringVar(&c.client, "client", "", "only clients with this `address`, address:port or network")
		case "state":
			f.StringVar(&c.state, "state", "", "only these `states`, with commas between: established,fin_wait")
		case "origin":
			f.BoolVar(&c.origin, "origin", false, "tell which entries came from the other director (local or sync)")
		case "dry-run":
			f.BoolVar(&c.dryRun, "dry-run", false, "only tell what would be done")
		case "timeouts":
			for i, n := range []string{"tcp", "tcpfin", "udp"} {
				f.Var(&c.timeouts[i], n, "with set: `time` like 15m, or seconds")
			}
		}
	}
	f.Usage = func() {
		fmt.Fprintf(c.stderr, "lvs-ha ipvs %s [options]\n\n%s%s.\n\n", strings.TrimSpace(name+" "+sub.usage), strings.ToUpper(sub.help[:1]), sub.help[1:])
		for _, e := range sub.examples {
			if !strings.Contains(e, "lvs-ha") {
				e = "lvs-ha ipvs " + e
			}
			fmt.Fprintf(c.stderr, "  %s\n", e)
		}
		fmt.Fprintln(c.stderr)
		printFlags(f)
		fmt.Fprint(c.stderr, ipvsExit)
	}
	return f
}

// secondsFlag is a time of whole seconds, 0 if it was not given.
type secondsFlag uint32

func (s *secondsFlag) String() string { return (time.Duration(*s) * time.Second).String() }

func (s *secondsFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil || d < time.Second || d%time.Second != 0 || d/time.Second > 1<<31-1 {
		return errors.New("a time of whole seconds like 15m is wanted, at least 1s")
	}
	*s = secondsFlag(d / time.Second)
	return nil
}
