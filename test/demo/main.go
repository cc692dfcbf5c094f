package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"lvs-ha/internal/lab"
)

func main() {
	lab.Main()
	bin := flag.String("bin", "./lvs-ha", "the lvs-ha binary to show")
	live := flag.Bool("live", false, "leave everything running, with a live view, until a key is pressed")
	mode := flag.String("mode", "dr", "forwarding: dr, nat or tun")
	colour := flag.String("color", "auto", "colour: auto, always or never")
	showConfig := flag.Bool("config", false, "print the configuration file, too")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	s := newScreen(os.Stdout, *colour)
	code, err := demo(ctx, s, options{bin: *bin, live: *live, mode: lab.Mode(*mode), config: *showConfig})
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "demo: interrupted, everything is removed")
		code = 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		code = 1
	}
	os.Exit(code)
}

type options struct {
	bin    string
	live   bool
	mode   lab.Mode
	config bool
}

// demo returns 1 if a promise was broken.
func demo(ctx context.Context, s *screen, o options) (code int, err error) {
	switch o.mode {
	case lab.DR, lab.NAT, lab.TUN:
	default:
		return 2, fmt.Errorf("-mode %s: choose dr, nat or tun", o.mode)
	}
	if _, err := os.Stat(o.bin); err != nil {
		return 2, fmt.Errorf("no binary to show: %w (build it with: make build)", err)
	}
	if os.Geteuid() != 0 {
		return 2, errors.New("needs root for network namespaces; `make demo` finds a way without")
	}
	if _, err := os.Stat("/proc/net/ip_vs"); err != nil {
		return 2, errors.New("this kernel has no IPVS (modprobe ip_vs); `make demo` boots one that has")
	}
	st := &story{screen: s, options: o}
	err = st.play(ctx)
	if st.lab != nil {
		if err != nil && ctx.Err() == nil {
			st.explain()
		}
		if derr := st.lab.Down(); err == nil {
			err = derr
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if st.broken > 0 {
		code = 1
	}
	return code, err
}
