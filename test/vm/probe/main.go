// Command probe tells what the running machine lets a test do, by doing it:
//
//	probe root netns ipvs
//
// exits 0 when all that is named works, and else 1 with one line for each
// thing that does not.  Asking for the generic netlink family makes the kernel
// load ip_vs, so a machine that has the module passes.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

var probes = map[string]func() error{
	"root":  root,
	"netns": netns,
	"ipvs":  ipvs,
}

func main() {
	status := 0
	for _, name := range os.Args[1:] {
		probe, ok := probes[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "probe: no such thing as %q; there are root, netns and ipvs\n", name)
			os.Exit(2)
		}
		if err := probe(); err != nil {
			fmt.Printf("%s: %v\n", name, err)
			status = 1
		}
	}
	os.Exit(status)
}

func root() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	return nil
}

// netns makes a network namespace; the thread that did is never used again.
func netns() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	if err := <-result; err != nil {
		return fmt.Errorf("cannot make a network namespace: %w", err)
	}
	return nil
}

func ipvs() error {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("cannot open generic netlink: %w", err)
	}
	defer c.Close()
	if _, err := c.GetFamily("IPVS"); err != nil {
		return fmt.Errorf("the kernel has no IPVS: %w", err)
	}
	return nil
}
