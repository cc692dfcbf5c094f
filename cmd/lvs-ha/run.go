package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lvs-ha/internal/logging"
	"lvs-ha/internal/sdnotify"
	"lvs-ha/internal/supervise"
	"lvs-ha/internal/vip"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
	"lvs-ha/vrrp/speaker"
)

// Bounds of an orderly stop, together below the service manager's patience.
const (
	releaseLimit  = 6 * time.Second // until every instance has dropped its addresses
	directorLimit = 8 * time.Second // until the director has kept or removed the table
)

// runCommand is the speaker process: the election, and the parent of the director.
func runCommand(args []string, _, stderr io.Writer) int {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	f.SetOutput(stderr)
	var o runOptions
	o.register(f)
	f.Usage = func() {
		fmt.Fprint(stderr, `lvs-ha run [--config FILE] [--node NAME] [--runtime-dir DIR] [--state-dir DIR]

Runs the agent until SIGTERM. SIGHUP reads the configuration again.

  lvs-ha run
  lvs-ha run --config ./lvs-ha.toml --node lb1

`)
		printFlags(f)
	}
	if err := parseFlags(f, args); err != nil {
		return usageCode(err)
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "lvs-ha run: unexpected argument %q; the configuration is named with --config\n", f.Arg(0))
		return exitUsage
	}
	punctual()
	if err := o.makeDirs(); err != nil {
		return fail(stderr, err)
	}
	lock, err := lockNamespace()
	if err != nil {
		return fail(stderr, err)
	}
	defer lock.Close()
	a, err := newAgent(o, stderr)
	if err != nil {
		return fail(stderr, err)
	}
	forgetStartup()
	return a.run()
}

// lockNamespace takes the name that only one agent of a network namespace can
// have: abstract unix sockets belong to the namespace (network_namespaces(7)),
// as IPVS and the addresses do, and vanish with their process.
func lockNamespace() (net.Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: agentName, Net: "unix"})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.New("another lvs-ha agent runs in this network namespace; stop it first (\"lvs-ha status\" shows it)")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot take the agent's name in this network namespace: %w", err)
	}
	return l, nil
}

// agent is the speaker process with its parts.
type agent struct {
	log     *logging.Log
	monitor *vip.Monitor
	sp      *speaker.Speaker
	link    *link.Server
	sup     *supervise.Supervisor
	manager sdnotify.Socket
	ready   atomic.Bool
	stopped chan struct{} // closed when the director has said that it is done
	once    sync.Once
}

func newAgent(o runOptions, stderr io.Writer) (*agent, error) {
	a := &agent{log: logging.New(stderr, "info", "auto"), manager: sdnotify.FromEnv(), stopped: make(chan struct{})}
	var err error
	if a.monitor, err = vip.NewMonitor(a.log.Logger); err != nil {
		return nil, fmt.Errorf("cannot watch links and addresses: %w", err)
	}
	a.sp = speaker.New(speaker.Options{
		Addresses:    vipAddresses{a.monitor, a.log.Logger},
		Log:          a.log.Logger,
		Logged:       a.log.Counts,
		OnTransition: func(t link.Transition) { a.link.Transition(t) },
		Journal:      filepath.Join(o.runtimeDir, "election"),
		Renewed:      func(in vrrp.Instance) bool { return a.monitor.Renewed(holderConfig(in)) },
	})
	a.link = link.NewServer(tuned{a.sp, a.log}, link.ServerOptions{
		Notify:  a.notify,
		Stopped: func() { a.once.Do(func() { close(a.stopped) }) },
	})
	a.sup = supervise.New(supervise.Options{
		Args: append([]string{"director"}, o.args()...), Env: directorEnv(), Stderr: stderr, Log: a.log.Logger,
		Serve: a.link.Serve, SilenceLimit: link.HeartbeatLimit,
		Gone: func() { a.sp.SetPosture(link.Posture{Away: true}) },
	})
	return a, nil
}

// tuned applies the log settings that come with a configuration.
type tuned struct {
	*speaker.Speaker
	log *logging.Log
}

func (t tuned) Configure(ctx context.Context, c link.Configure) error {
	err := t.Speaker.Configure(ctx, c)
	if err == nil {
		t.log.SetLevel(c.LogLevel)
	}
	return err
}

// notify takes the director's sign of life.
func (a *agent) notify(n link.Notify) {
	a.sup.Beat()
	a.sup.Accept()
	if n.Ready && !a.ready.Swap(true) {
		_ = a.manager.Send("READY=1")
	}
	_ = a.manager.Send("STATUS=" + n.Status)
}

func (a *agent) run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	speakerDone := make(chan error, 1)
	go func() { speakerDone <- a.sp.Run(ctx) }()
	childDone := make(chan error, 1)
	go func() {
		if err := speaker.OrdinaryChildren(); err != nil {
			a.log.Warn("a director process that is started again may be in real time, too", "event", "ordinary_children", "err", err)
		}
		childDone <- a.sup.Run(ctx)
	}()
	go collect(ctx, a.sp)
	go a.watchdog(ctx)
	monitorDone := make(chan struct{})
	go func() {
		_ = a.monitor.Run(ctx)
		close(monitorDone)
	}()
	defer func() {
		cancel()
		<-monitorDone
		a.monitor.Close()
	}()

	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				a.link.Reload()
				continue
			}
			return a.stop(ctx, cancel, childDone, speakerDone)
		case err := <-childDone:
			// It never ran: it has said why, and its status is ours.
			cancel()
			<-speakerDone
			var ee *supervise.ExitError
			if errors.As(err, &ee) {
				return ee.Code
			}
			return exitNo
		case err := <-speakerDone:
			cancel()
			<-childDone
			a.log.Error("the election cannot go on", "event", "speaker_failed", "err", err)
			return exitNo
		}
	}
}

// stop ends in order: the addresses go to the peer, then the director keeps or
// removes the table.
func (a *agent) stop(ctx context.Context, cancel context.CancelFunc, childDone, speakerDone chan error) int {
	a.log.Info("stopping", "event", "stopping")
	_ = a.manager.Send("STOPPING=1", "STATUS=releasing the addresses")
	a.sup.Ending()
	releaseCtx, done := context.WithTimeout(ctx, releaseLimit)
	if err := a.sp.Stop(releaseCtx); err != nil {
		a.log.Error("the addresses were not released in time; the kernel removes them when their lifetime ends", "event", "release_failed", "err", err)
	}
	done()
	code := exitOK
	if a.sup.PID() != 0 {
		a.link.Stop()
		select {
		case <-a.stopped:
		case <-childDone:
			childDone = nil
		case <-time.After(directorLimit):
			a.log.Error("the director process did not end in time, the kernel table stays as it is", "event", "stop_failed")
			code = exitNo
		}
	}
	cancel()
	if childDone != nil {
		<-childDone
	}
	<-speakerDone
	a.log.Info("stopped", "event", "stopped")
	return code
}

// watchdog feeds the service manager while the election's loop turns.
func (a *agent) watchdog(ctx context.Context) {
	every := sdnotify.WatchdogInterval()
	if every == 0 {
		return
	}
	t := time.NewTicker(every / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if time.Since(a.sp.Beat()) < every {
				_ = a.manager.Send("WATCHDOG=1")
			}
		}
	}
}
