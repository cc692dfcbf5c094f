package main

import (
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// What a measurement begins with happens in the process that notes the time:
// to start another one takes some milliseconds, which nobody's agent has to answer for.

// cmdUnplug takes a port out of its bridge and prints the time just before, in nanoseconds.
func cmdUnplug(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: benchtool unplug PORT")
	}
	port, err := netlink.LinkByName(args[0])
	if err != nil {
		return fmt.Errorf("port %s: %w", args[0], err)
	}
	at := time.Now()
	if err := netlink.LinkSetNoMaster(port); err != nil {
		return fmt.Errorf("port %s: %w", args[0], err)
	}
	fmt.Println(at.UnixNano())
	return nil
}

// cmdKill sends SIGKILL and prints the time just before, in nanoseconds.
func cmdKill(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: benchtool kill PID")
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil || pid <= 1 {
		return fmt.Errorf("%q is no process", args[0])
	}
	at := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	fmt.Println(at.UnixNano())
	return nil
}
