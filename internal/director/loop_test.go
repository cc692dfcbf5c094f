package director

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/internal/histogram"
	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// fakeSpeaker remembers what it was told last.
type fakeSpeaker struct {
	mu      sync.Mutex
	conf    link.Configure
	posture link.Posture
	notify  link.Notify
	beats   int
	refuse  error
	status  link.Status
}

func (s *fakeSpeaker) Configure(_ context.Context, c link.Configure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.conf = c
	return nil
}
func (s *fakeSpeaker) SetPosture(p link.Posture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posture = p
}
func (s *fakeSpeaker) Status(context.Context) (*link.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	return &st, nil
}
func (s *fakeSpeaker) Notify(n link.Notify) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = n
	s.beats++
}
func (s *fakeSpeaker) told() (link.Posture, link.Notify, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posture, s.notify, s.beats
}

// fakeChecks runs nothing; a test reports verdicts itself.
type fakeChecks struct {
	mu    sync.Mutex
	specs []health.Spec
}

func (c *fakeChecks) Apply(s []health.Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.specs = s
}
func (c *fakeChecks) Statuses() map[health.Key]health.Status { return nil }
func (c *fakeChecks) Doubt() health.Doubt                    { return health.Doubt{} }
func (c *fakeChecks) Running() int                           { return 0 }
func (c *fakeChecks) Lag() histogram.Snapshot                { return histogram.New(1).Snapshot() }

// house is a running director with fakes around it, inside a synctest bubble.
type house struct {
	t       *testing.T
	d       *Director
	kernel  *ipvsctltest.Fake
	speaker *fakeSpeaker
	checks  *fakeChecks
	conf    *conf.Config // what the next load gives
	loadErr error
	dir     string
	options func(*Options) // what else; nil for nothing
	cancel  func()
	done    chan error
}

func newHouse(t *testing.T, c *conf.Config) *house {
	return &house{t: t, kernel: ipvsctltest.NewFake(), speaker: &fakeSpeaker{}, checks: &fakeChecks{}, conf: c, dir: t.TempDir()}
}

// start builds a director on the house's kernel, as a new process would.
func (h *house) start() {
	h.t.Helper()
	h.kernel = h.kernel.Reopen()
	o := Options{
		Load:       func() (*conf.Config, error) { return h.conf, h.loadErr },
		OpenKernel: func() (ipvsctl.Kernel, error) { return h.kernel, nil },
		Speaker:    h.speaker, Checks: h.checks, StateDir: h.dir, Log: slog.New(slog.DiscardHandler),
	}
	if h.options != nil {
		h.options(&o)
	}
	h.d = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	if err := h.d.Start(ctx, h.conf); err != nil {
		h.t.Fatal(err)
	}
	h.done = make(chan error, 1)
	go func() { h.done <- h.d.Run(ctx) }()
	synctest.Wait()
}

// consistent tells whether the decision is the one that deciding anew on
// everything gives: nothing that it depends on went by without its services
// being marked.
func (h *house) consistent() {
	h.t.Helper()
	err := h.d.do(h.t.Context(), func() {
		d := h.d
		if d.stopping || d.dirty || d.touched.all {
			return
		}
		s := d.state(time.Now())
		have := d.desired
		have.Services = slices.Clone(have.Services)
		have.Replan(s, d.touched.list, d.touched.servers)
		if want := Plan(s); !reflect.DeepEqual(have, want) {
			h.t.Errorf("decided step by step:\n%s\nand anew:\n%s", shown(have), shown(want))
		}
	})
	if err != nil {
		h.t.Error(err)
	}
}

func (h *house) end() {
	h.consistent()
	h.cancel()
	if err := <-h.done; err != nil {
		h.t.Error(err)
	}
	synctest.Wait()
}

func (h *house) verdict(server string, to health.State) {
	h.d.OnChange(health.Change{Key: spec(server, 80).Key(), To: to, At: time.Now(), Failure: &health.Failure{Reason: health.ReasonRefused, Detail: "connection refused"}})
	synctest.Wait()
	h.consistent()
}

func (h *house) role(seq uint64, from, to vrrp.State, planned bool) {
	h.d.OnTransition(link.Transition{Seq: seq, Instance: "edge", From: from, To: to, Planned: planned, At: time.Now()})
	synctest.Wait()
	h.consistent()
}

// weight of a server in the fake kernel; -1 if it is not there.
func (h *house) weight(server string) int {
	h.t.Helper()
	table, err := h.kernel.Dump(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range table {
		if s, ok := e.Servers[ipvsctl.ServerKey{Addr: addr(server), Port: 80}]; ok {
			return int(s.Weight)
		}
	}
	return -1
}

func (h *house) want(server string, weight int) {
	h.t.Helper()
	if got := h.weight(server); got != weight {
		h.t.Errorf("%s has weight %d in the kernel, want %d (-1: not there)", server, got, weight)
	}
}

func (h *house) daemons() map[ipvsctl.Role]bool {
	h.t.Helper()
	ds, err := h.kernel.Daemons(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	m := map[ipvsctl.Role]bool{}
	for _, d := range ds {
		m[d.Role] = true
	}
	return m
}

func TestFailureAndRecoveryReachTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2)))
		h.start()
		h.want(rs1, 0) // new and unknown
		if p, _, _ := h.speaker.told(); p.Ready {
			t.Error("ready before any verdict")
		}
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.want(rs1, 1)
		h.want(rs2, 1)
		if p, n, _ := h.speaker.told(); !p.Ready || !n.Ready || n.Status != "1/1 services ok" {
			t.Errorf("after all verdicts: %+v, %+v", p, n)
		}
		h.verdict(rs1, health.Down)
		h.want(rs1, 0)
		h.want(rs2, 1)
		h.verdict(rs1, health.Up)
		h.want(rs1, 1)
		s := h.d.Refresh(t.Context())
		if x := s.Services[0].Servers[0]; x.TransitionsDown != 1 || x.TransitionsUp != 1 || x.Weight == nil || *x.Weight != 1 || x.State != ServerUp {
			t.Errorf("snapshot: %+v", x)
		}
		h.end()
	})
}

func TestRemoveAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2)
		d := 30 * time.Second
		svc.RemoveAfter = &d
		h := newHouse(t, config(svc))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		h.verdict(rs1, health.Down)
		time.Sleep(d - time.Millisecond)
		synctest.Wait()
		h.want(rs1, 0)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		h.want(rs1, -1)
		h.verdict(rs1, health.Up)
		h.want(rs1, 1)
		h.end()
	})
}

// A director that is started again on a table that it left makes no write.
func TestRestartWritesNothing(t *testing.T) {
	for _, startUp := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			svc := service("web", vip, ipvsctl.TCP, rs1, rs2, "10.0.0.23")
			svc.StartUp = startUp
			h := newHouse(t, config(svc))
			h.conf.Services[0].OnFailure = conf.FailRemove
			h.start()
			for a, v := range map[string]health.State{rs1: health.Up, rs2: health.Down, "10.0.0.23": health.Up} {
				h.verdict(a, v)
			}
			h.want(rs2, -1)
			h.end()

			writes := h.kernel.Writes()
			h.start()
			time.Sleep(time.Second)
			synctest.Wait()
			for a, v := range map[string]health.State{rs1: health.Up, rs2: health.Down, "10.0.0.23": health.Up} {
				h.verdict(a, v)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := h.kernel.Writes() - writes; n != 0 {
				t.Errorf("start up %v: %d writes after a restart, want none", startUp, n)
			}
			h.end()
		})
	}
}

// Nor does a failed server come back for its remove_after to run once more.
func TestRestartLeavesTheRemovedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := service("web", vip, ipvsctl.TCP, rs1, rs2)
		svc.RemoveAfter = new(30 * time.Second)
		h := newHouse(t, config(svc))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Down)
		h.wait(time.Minute)
		h.want(rs2, -1)
		writes := h.kernel.Writes()
		h.end()
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Down)
		h.wait(time.Minute)
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("%d writes after a restart, want none", n)
		}
		h.verdict(rs2, health.Up)
		h.want(rs2, 1)
		h.verdict(rs2, health.Down)
		h.want(rs2, 0)
		h.end()
	})
}

func TestJudgeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1)))
		h.start()
		time.Sleep(JudgeLimit - time.Millisecond)
		synctest.Wait()
		if p, _, _ := h.speaker.told(); p.Ready {
			t.Error("ready before the limit")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if p, _, _ := h.speaker.told(); !p.Ready {
			t.Error("not ready after the limit")
		}
		h.end()
	})
}

func TestDriftIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2)))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		svc := h.conf.Services[0].Service
		for _, err := range h.kernel.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.DeleteService, Service: svc}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		h.want(rs1, -1)
		time.Sleep(h.conf.IPVS.ReconcileInterval)
		synctest.Wait()
		h.want(rs1, 1)
		if n := h.d.Refresh(t.Context()).Kernel.Drift["missing_service"]; n != 1 {
			t.Errorf("counted %d missing services, want 1", n)
		}
		h.end()
	})
}

func TestReloadAddsRemovesAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2), service("api", "192.0.2.11", ipvsctl.TCP, rs1)))
		h.start()
		h.verdict(rs1, health.Up)
		h.verdict(rs2, health.Up)
		writes := h.kernel.Writes()

		h.loadErr = errors.New("lvs-ha.toml:3:1: wrong")
		if err := h.d.Reload(t.Context()); !errors.Is(err, h.loadErr) {
			t.Errorf("reload of a bad file: %v", err)
		}
		h.loadErr, h.speaker.refuse = nil, errors.New("no such instance")
		h.conf = config(service("web", vip, ipvsctl.TCP, rs1))
		if err := h.d.Reload(t.Context()); !errors.Is(err, h.speaker.refuse) {
			t.Errorf("reload that the speaker refuses: %v", err)
		}
		synctest.Wait()
		if n := h.kernel.Writes() - writes; n != 0 {
			t.Errorf("refused reloads wrote %d times", n)
		}
		if s := h.d.Refresh(t.Context()); s.Config.LastOK || s.Config.LastError == "" || len(s.Services) != 2 {
			t.Errorf("after refused reloads: %+v", s.Config)
		}

		h.speaker.refuse = nil
		h.conf = config(service("web", vip, ipvsctl.TCP, rs1, "10.0.0.23"))
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.want(rs1, 1)
		h.want(rs2, -1)
		h.want("10.0.0.23", 0)
		if table, _ := h.kernel.Dump(t.Context()); len(table) != 1 {
			t.Errorf("%d services in the kernel, want 1", len(table))
		}
		h.end()
	})
}

// A changed check keeps the verdict on its server until its own first result.
func TestReloadInheritsVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1, rs2)))
		h.conf.Services[0].StartUp = true
		h.start()
		h.verdict(rs1, health.Down)
		h.verdict(rs2, health.Up)
		changed := config(service("web", vip, ipvsctl.TCP, rs1, rs2))
		changed.Services[0].StartUp = true
		for i := range changed.Services[0].Servers {
			changed.Services[0].Servers[i].Checks[0].Spec.Timeout = 2 * time.Second
		}
		h.conf = changed
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.want(rs1, 0)
		h.want(rs2, 1)
		h.end()
	})
}

func TestOwnedServicesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		foreign := service("foreign", "192.0.2.99", ipvsctl.TCP)
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1), service("api", "192.0.2.11", ipvsctl.TCP, rs1)))
		if err := errors.Join(h.kernel.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.AddService, Service: foreign.Service}})...); err != nil {
			t.Fatal(err)
		}
		h.start()
		h.verdict(rs1, health.Up)
		h.end()
		h.conf = config(service("web", vip, ipvsctl.TCP, rs1)) // api goes while we are stopped
		h.start()
		h.verdict(rs1, health.Up)
		table, _ := h.kernel.Dump(t.Context())
		if _, ok := table[foreign.Service.Key]; !ok || len(table) != 2 {
			t.Errorf("%d services, the foreign one there: %v; want web and the foreign one", len(table), ok)
		}
		if n := h.d.Refresh(t.Context()).Kernel.Unmanaged; n != 1 {
			t.Errorf("%d unmanaged services, want 1", n)
		}
		h.end()
		if err := os.WriteFile(filepath.Join(h.dir, ownedFile), []byte("{broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		h.start() // goes on without the list
		h.end()
	})
}

// TestUnmanagedServicesAreRemoved: ours come first, then the others go; at a
// stop with on_stop = "keep" nothing does.
func TestUnmanagedServicesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		foreign := service("foreign", "192.0.2.99", ipvsctl.TCP)
		c := config(service("web", vip, ipvsctl.TCP, rs1))
		c.IPVS.Unmanaged = conf.UnmanagedRemove
		h := newHouse(t, c)
		add := func() {
			t.Helper()
			if err := errors.Join(h.kernel.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.AddService, Service: foreign.Service}})...); err != nil {
				t.Fatal(err)
			}
		}
		there := func() bool {
			table, _ := h.kernel.Dump(t.Context())
			_, ok := table[foreign.Service.Key]
			return ok
		}
		add()
		h.start()
		h.verdict(rs1, health.Up)
		h.want(rs1, 1)
		if !there() {
			t.Error("the foreign service went in the first pass")
		}
		time.Sleep(c.IPVS.ReconcileInterval)
		synctest.Wait()
		h.want(rs1, 1)
		if there() || h.d.Refresh(t.Context()).Kernel.Unmanaged != 0 {
			t.Error("the foreign service stays")
		}
		next := *c
		next.IPVS.Unmanaged = conf.UnmanagedIgnore
		h.conf = &next
		if err := h.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		add()
		time.Sleep(2 * c.IPVS.ReconcileInterval)
		synctest.Wait()
		if !there() {
			t.Error("a foreign service went without the setting")
		}
		h.end()
		// Also where the agent has no services of its own.
		h.conf = config()
		h.conf.IPVS.Unmanaged = conf.UnmanagedRemove
		h.start()
		synctest.Wait()
		if !there() {
			t.Error("without services of ours, the foreign one went in the first pass")
		}
		time.Sleep(c.IPVS.ReconcileInterval)
		synctest.Wait()
		if there() {
			t.Error("without services of ours, the foreign one stays")
		}
		h.end()
	})
}

func TestSyncDaemonFollowsTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.Sync = &conf.Sync{Interface: "eth1", ID: 51, Follow: "edge"}
		c.VRRP = []vrrp.Instance{{Name: "edge"}}
		h := newHouse(t, c)
		h.start()
		expect := func(when string, master, backup bool) {
			t.Helper()
			synctest.Wait()
			if d := h.daemons(); d[ipvsctl.RoleMaster] != master || d[ipvsctl.RoleBackup] != backup {
				t.Errorf("%s: %v, want master %v, backup %v", when, d, master, backup)
			}
		}
		expect("at start", false, true)
		h.role(1, vrrp.Init, vrrp.Backup, false)
		h.role(2, vrrp.Backup, vrrp.Master, false)
		expect("just promoted", true, true)
		time.Sleep(SyncOverlap)
		expect("promoted", true, false)
		h.role(3, vrrp.Master, vrrp.Backup, true)
		expect("just demoted", true, true)
		time.Sleep(SyncOverlap)
		expect("demoted", false, true)
		// Somebody stops it: it comes back with the next comparison.
		if err := errors.Join(h.kernel.Apply(t.Context(), []ipvsctl.Op{{Kind: ipvsctl.StopDaemon, Daemon: ipvsctl.Daemon{Role: ipvsctl.RoleBackup}}})...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(c.IPVS.ReconcileInterval)
		expect("repaired", false, true)
		h.end()
	})
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		onStop   conf.OnStop
		services int
	}{{conf.StopKeep, 1}, {conf.StopRemove, 0}} {
		synctest.Test(t, func(t *testing.T) {
			cfg := config(service("web", vip, ipvsctl.TCP, rs1))
			cfg.IPVS.OnStop = c.onStop
			cfg.Sync = &conf.Sync{Interface: "eth1", ID: 51, Follow: "edge"}
			cfg.VRRP = []vrrp.Instance{{Name: "edge"}}
			h := newHouse(t, cfg)
			h.start()
			h.verdict(rs1, health.Up)
			h.role(1, vrrp.Init, vrrp.Backup, false)
			h.role(2, vrrp.Backup, vrrp.Master, false)
			time.Sleep(time.Minute)
			h.role(3, vrrp.Master, vrrp.Releasing, true)
			h.role(4, vrrp.Releasing, vrrp.Init, true)
			began := time.Now()
			if err := h.d.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != SyncOverlap {
				t.Errorf("stopped after %v; the sync daemon's last messages need %v", took, SyncOverlap)
			}
			h.end()
			h.kernel = h.kernel.Reopen()
			if table, _ := h.kernel.Dump(t.Context()); len(table) != c.services {
				t.Errorf("on_stop %s leaves %d services, want %d", c.onStop, len(table), c.services)
			}
			if h.daemons()[ipvsctl.RoleMaster] {
				t.Error("the sync daemon's master role runs on")
			}
			if c.onStop == conf.StopRemove && h.daemons()[ipvsctl.RoleBackup] {
				t.Error("the sync daemon's backup role runs on")
			}
		})
	}
}

func TestKernelTroubleIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1)))
		h.start()
		h.verdict(rs1, health.Up) // after the first one adoption is over: one decision, one pass from here on
		h.want(rs1, 1)
		h.kernel.Fail(ipvsctl.SetServer, syscall.ENOBUFS, 1)
		h.verdict(rs1, health.Down)
		h.want(rs1, 1)
		time.Sleep(kernelRetry)
		synctest.Wait()
		h.want(rs1, 0)
		if n := h.d.Refresh(t.Context()).Kernel.Operations[OperationResult{ipvsctl.SetServer.String(), "error"}]; n != 1 {
			t.Errorf("counted %d refused operations, want 1", n)
		}
		h.end()
	})
}

func TestElectionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config()
		c.VRRP = []vrrp.Instance{{Name: "edge"}}
		h := newHouse(t, c)
		h.d = New(Options{
			OpenKernel: func() (ipvsctl.Kernel, error) { t.Error("IPVS opened without need"); return nil, syscall.ENOENT },
			Speaker:    h.speaker, Checks: h.checks, StateDir: h.dir, Log: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		if err := h.d.Start(ctx, c); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- h.d.Run(ctx) }()
		synctest.Wait()
		if p, _, _ := h.speaker.told(); !p.Ready {
			t.Error("not ready though there is nothing to judge")
		}
		h.role(1, vrrp.Init, vrrp.Backup, false)
		if p, n, beats := h.speaker.told(); !p.Ready || !n.Ready || n.Status != "BACKUP edge" || beats == 0 {
			t.Errorf("told %+v, %+v, %d beats", p, n, beats)
		}
		if err := h.d.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		<-done
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1)))
		h.start()
		_, _, before := h.speaker.told()
		time.Sleep(5 * link.HeartbeatEvery)
		synctest.Wait()
		if _, _, n := h.speaker.told(); n-before != 5 {
			t.Errorf("%d signs of life in 5 periods", n-before)
		}
		h.end()
	})
}

// A kernel that does not tell its figures once must not make every counter start again.
func TestFiguresStandWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, config(service("web", vip, ipvsctl.TCP, rs1)))
		h.start()
		h.verdict(rs1, health.Up)
		h.kernel.SetStats(h.conf.Services[0].Service.Key, ipvsctl.EntryStats{Counters: ipvsctl.Counters{Connections: 7}})
		connections := func() uint64 { return h.d.Refresh(t.Context()).Services[0].Counters.Connections }
		if n := connections(); n != 7 {
			t.Fatalf("%d connections, want 7", n)
		}
		h.kernel.FailRead("Stats", syscall.ENOBUFS, 1)
		if n := connections(); n != 7 {
			t.Errorf("%d connections after a read that failed, want the 7 of before", n)
		}
		h.end()
	})
}
