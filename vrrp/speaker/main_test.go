package speaker_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvs-ha/internal/netnstest"
	"lvs-ha/internal/vip"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
	"lvs-ha/vrrp/speaker"
)

const asNode = "LVSHA_TEST_NODE"

// TestMain runs the tests in a network namespace of their own. Nodes of a test
// are this binary again, each in one more namespace.
func TestMain(m *testing.M) {
	switch os.Getenv(asNode) {
	case "speaker":
		nodeSpeaker()
	case "exec":
		nodeExec()
	}
	// The nodes mostly wait: more of them than CPUs may do so side by side.
	netnstest.Main(m, "-test.parallel=6")
}

// nodeSpeaker is a speaker that a director talks to over descriptor 3.
func nodeSpeaker() {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	fatal := func(err error) {
		log.Error("node failed", "err", err)
		os.Exit(3)
	}
	m, err := vip.NewMonitor(log)
	if err != nil {
		fatal(err)
	}
	inherited := os.NewFile(3, "link")
	conn, err := net.FileConn(inherited)
	if err != nil {
		fatal(err)
	}
	var server *link.Server
	s := speaker.New(speaker.Options{
		Journal: os.Getenv("SPEAKER_JOURNAL"), Renewed: func(in vrrp.Instance) bool { return m.Renewed(holderConfig(in)) },
		Addresses: addresses{m, log}, Log: log, OnTransition: func(t link.Transition) { server.Transition(t) },
	})
	server = link.NewServer(s, link.ServerOptions{})
	ctx := context.Background()
	go func() { _ = m.Run(ctx) }()
	go func() { _ = server.Serve(ctx, conn) }()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR1)
	go func() {
		// As if it had been killed and started again: nothing is left but the
		// namespace and the link.
		<-again
		runtime.KeepAlive(inherited) // open until here, and for the next one
		fatal(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	}()
	log.Debug("the node is there")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		limit, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := s.Stop(limit); err != nil {
			fatal(err)
		}
	}()
	if err := s.Run(ctx); err != nil {
		fatal(err)
	}
	os.Exit(0)
}

// nodeExec waits for a line on standard input and becomes another program.
func nodeExec() {
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	// In real time as ours are, where that is permitted.
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 7}, 0)
	err := syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}
