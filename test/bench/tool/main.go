package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

var commands = map[string]struct {
	run  func(args []string) error
	help string
}{
	"now":     {cmdNow, "print the time in nanoseconds"},
	"serve":   {cmdServe, "be a real server (HTTP answer with a name, or line echo)"},
	"load":    {cmdLoad, "request through the VIP at a fixed rate, report gaps"},
	"conns":   {cmdConns, "hold long connections through the VIP, report which survive"},
	"watch":   {cmdWatch, "print changes of /proc/net/ip_vs with their time"},
	"proc":    {cmdProc, "print CPU time and memory of processes"},
	"burn":    {cmdBurn, "keep CPUs busy"},
	"writes":  {cmdWrites, "note each write to the IPVS table, seen by the kernel itself"},
	"arp":     {cmdARP, "ask for an address, print who answers"},
	"spend":   {cmdSpend, "run a command, print its time and CPU"},
	"scrape":  {cmdScrape, "print the lines of a metrics page that begin so"},
	"sniff":   {cmdSniff, "watch VRRP advertisements on an interface"},
	"tcp":     {cmdTCP, "print TCP packets with certain flags, stamped by the kernel"},
	"unplug":  {cmdUnplug, "take a port out of its bridge, print when"},
	"kill":    {cmdKill, "kill a process, print when"},
	"machine": {cmdMachine, "how fast and how even this machine is"},
	"figure":  {cmdFigure, "numbers on stdin to one line of the report's input"},
	"table":   {cmdTable, "the report: figures on stdin side by side"},
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]].run == nil {
		names := make([]string, 0, len(commands))
		for n := range commands {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			fmt.Fprintf(os.Stderr, "benchtool %-8s %s\n", n, commands[n].help)
		}
		os.Exit(2)
	}
	if err := commands[os.Args[1]].run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchtool "+os.Args[1]+":", err)
		os.Exit(1)
	}
}

func cmdNow([]string) error {
	fmt.Println(time.Now().UnixNano())
	return nil
}

// stopped becomes true at SIGTERM or SIGINT, which end a measurement early.
func stopped() *atomic.Bool {
	var stop atomic.Bool
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT)
	go func() { <-sig; stop.Store(true) }()
	return &stop
}

// emit writes v as one line of JSON.
func emit(v any) error {
	return json.NewEncoder(os.Stdout).Encode(v)
}

func ms(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
