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
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/internal/control"
	"lvs-ha/internal/director"
	"lvs-ha/internal/host"
	"lvs-ha/internal/logging"
	"lvs-ha/internal/supervise"
	"lvs-ha/ipvsctl"
	"lvs-ha/metrics"
	"lvs-ha/vrrp/link"
)

// directorGarbage is the share of garbage, in percent of what lives, at which
// the director collects: it shares its machine with the traffic.
const directorGarbage = 50

// settled is when the burst of work that a new configuration brings is over.
const settled = 2 * time.Second

// directorCommand is the director process, started by the speaker with the
// link as descriptor 3.
func directorCommand(args []string, _, stderr io.Writer) int {
	f := flag.NewFlagSet("director", flag.ContinueOnError)
	f.SetOutput(stderr)
	var o runOptions
	o.register(f)
	again := f.Bool("again", false, "takes over from a director that ran with a valid configuration")
	if err := f.Parse(args); err != nil {
		return usageCode(err)
	}
	conn, err := inheritedLink()
	if err != nil {
		return fail(stderr, err)
	}
	// Signals of the process group are for the speaker, which tells us.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	// The speaker did without huge pages and so did our start; what we start may
	// have them.
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	debug.SetGCPercent(directorGarbage)
	twoProcessors()
	// Started through /proc/self/exe it would be called "exe" in process lists.
	_ = os.WriteFile("/proc/self/comm", []byte("lvs-ha-director"), 0)
	return runDirector(o, *again, conn, stderr)
}

// twoProcessors at least: the loop of the probes waits in the runtime's poller. A
// runtime with one looks there only when nothing else runs; with another one a
// thread sleeps there, and it is the kernel that decides who is next.
func twoProcessors() {
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
}

// needless adds to the error of a kernel without IPVS that there is a way to do
// without: many elect who has an address, and nothing else.
func needless(err error) error {
	if errors.Is(err, ipvsctl.ErrNoIPVS) {
		return fmt.Errorf("%w; a configuration without [[service]] and [sync] needs none", err)
	}
	return err
}

func inheritedLink() (net.Conn, error) {
	file := os.NewFile(supervise.ChildFD, "link")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, errors.New("\"lvs-ha director\" is started by \"lvs-ha run\", not by hand")
	}
	return c, nil
}

func runDirector(o runOptions, again bool, conn net.Conn, stderr io.Writer) int {
	files := &acceptedTexts{o: o}
	cfg, err := files.load()
	if err != nil && again {
		var kept error
		if cfg, kept = files.again(); kept == nil {
			fmt.Fprintf(stderr, "lvs-ha: %v\nlvs-ha: going on with the last accepted configuration\n", err)
		}
		err = errors.Join(err, kept)
		if kept == nil {
			err = nil
		}
	}
	if err != nil {
		return fail(stderr, err)
	}
	log := logging.New(stderr, cfg.Log.Level, cfg.Log.Format)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var d *director.Director
	reload := func() {
		if err := uncollected(ctx, d.Reload); err != nil {
			log.Debug("reload", "err", err)
		}
	}
	stop := make(chan struct{}, 1)
	notify := newNotify(o, log)
	claims := host.NewClaimants(log.Logger)
	client := link.NewClient(conn, link.ClientOptions{
		// It counts as taken when this returns: the command is in its queue then.
		OnTransition: func(t link.Transition) {
			switch {
			case t.Claim != nil:
				claims.Take(host.Claim(*t.Claim))
			case !t.Reassert:
				d.OnTransition(t)
			}
			if e, ok := notifyEvent(t); ok {
				notify.Post(e)
			}
		},
		OnReload: func() { go reload() },
		OnStop: func() {
			select {
			case stop <- struct{}{}:
			default:
			}
		},
	})
	checks := health.NewScheduler(health.Options{
		OnChange: func(c health.Change) { d.OnChange(c) }, OnDoubt: func(x health.Doubt) { d.OnDoubt(x) }, Log: log.Logger, Seed: cfg.Node,
	})
	web := newListeners(log.Logger)
	// It looks for what an earlier process left, which may have the kernel load
	// nf_tables: no table waits for that.
	holder := sync.OnceValue(func() *host.Holder { return host.NewHolder(log.Logger) })
	hold := holdNew(holder)
	openKernel := func() (ipvsctl.Kernel, error) {
		k, err := ipvsctl.Open(hold)
		return k, needless(err)
	}
	byHand := &agentIPVS{open: openKernel, log: log.Logger}
	keeper := host.NewKeeper(log.Logger)
	stragglers := host.NewStragglerKeeper(log.Logger)
	hints := &pathHints{hint: checks.Hint, log: log.Logger}
	d = director.New(director.Options{
		Load:       files.load,
		OpenKernel: openKernel,
		Prepare:    web.prepare,
		Accepted: func(c *conf.Config) {
			log.SetLevel(c.Log.Level)
			notify.Set(notifyHooks(c))
			byHand.config.Store(c)
			keeper.Set(hostWant(c))
			hints.accept(c)
			claims.Set(realServers(c))
			files.keep(c, log)
			// Reading a long file leaves several times its size behind.
			time.AfterFunc(settled, debug.FreeOSMemory)
		},
		Removed: func(ops []ipvsctl.Op) { keeper.End(hostEnd(ops)) }, Repairs: keeper.Repairs,
		Warnings:   func() []string { return slices.Concat(keeper.Findings(), stragglers.Findings(), claims.Findings()) },
		Stragglers: func(c *conf.Config, list []director.Stragglers) { stragglers.Set(hostStragglers(c, list)) },
		Paused:     keeper.Pause,
		Speaker:    client, Checks: checks, StateDir: o.stateDir, Log: log.Logger, Logged: log.Counts,
		NotifyRuns: func() map[director.NotifyRun]uint64 { return notifyRuns(notify) },
	})
	web.handler = metrics.New(d, metrics.Build{Version: version, Revision: revision, GoVersion: runtime.Version()})

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return errors.Join(client.Run(gctx), errLinkEnded) })
	if err := d.Start(gctx, cfg); err != nil {
		return fail(stderr, err)
	}
	ctl, err := control.Listen(control.Options{
		Path: filepath.Join(o.runtimeDir, socketName), Source: d, Log: log.Logger, Version: version,
		Reload:   func(ctx context.Context) error { return uncollected(ctx, d.Reload) },
		Failover: client.Failover,
		IPVS:     byHand.change,
		Admin:    d.Admin,
	})
	if err != nil {
		return fail(stderr, err)
	}
	g.Go(func() error { holder(); return nil })
	g.Go(func() error { return ctl.Serve(gctx) })
	g.Go(func() error { return checks.Run(gctx) })
	g.Go(func() error { return web.run(gctx) })
	g.Go(func() error { return keeper.Run(gctx) })
	g.Go(func() error { return stragglers.Run(gctx) })
	g.Go(func() error { return claims.Run(gctx) })
	g.Go(func() error { return hints.run(gctx) })
	g.Go(func() error { return notify.Run(gctx) })
	g.Go(func() error { return d.Run(gctx) })
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return nil
		case <-stop:
		}
		stopCtx, done := context.WithTimeout(gctx, directorLimit)
		defer done()
		told := make(chan struct{})
		go func() {
			defer close(told)
			limited, done := context.WithTimeout(stopCtx, notifyLimit)
			defer done()
			if notify.Drain(limited) != nil {
				log.Error("notify commands had not ended in time", "event", "notify", "limit", notifyLimit)
			}
		}()
		if err := d.Stop(stopCtx); err != nil {
			log.Error("the kernel table was not left as on_stop asks", "event", "stop_failed", "err", err)
		}
		if err := keeper.Stop(stopCtx); err != nil {
			log.Error("the nftables table was not removed as on_stop asks", "event", "stop_failed", "err", err)
		}
		if err := stragglers.Stop(stopCtx); err != nil {
			log.Error("the nftables tables for stragglers were not removed", "event", "stop_failed", "err", err)
		}
		<-told
		client.Stopped()
		return errStopped
	})
	err = g.Wait()
	if errors.Is(err, errStopped) {
		return exitOK
	}
	if !errors.Is(err, errLinkEnded) {
		log.Error("the director process cannot go on", "event", "director_failed", "err", err)
	}
	return exitNo
}

var (
	errStopped   = errors.New("stopped in order")
	errLinkEnded = errors.New("the speaker is gone")
)

// preflight finds what this machine, and this process on it, cannot check at
// all: files that are missing, a user it may not become. Each check says it once.
func preflight(c *conf.Config) error {
	var errs []error
	told, seen := map[string]bool{}, map[string]bool{}
	look := func(name string, s *health.Spec) {
		if !s.Type.Preflights() {
			return
		}
		same := fmt.Sprintf("%s %s %+v %+v", name, s.Type, s.TLS, s.Exec)
		if seen[same] { // for another server
			return
		}
		seen[same] = true
		if err := s.Preflight(); err != nil {
			if text := fmt.Sprintf("check %q cannot work here: %v", name, err); !told[text] {
				told[text] = true
				errs = append(errs, errors.New(text))
			}
		}
	}
	for i := range c.Services {
		for j := range c.Services[i].Servers {
			for k := range c.Services[i].Servers[j].Checks {
				x := &c.Services[i].Servers[j].Checks[k]
				look(x.Name, &x.Spec)
			}
		}
	}
	for i := range c.Duties {
		for j := range c.Duties[i].TrackChecks {
			x := &c.Duties[i].TrackChecks[j]
			look(x.Name, &x.Spec)
		}
	}
	return errors.Join(errs...)
}
