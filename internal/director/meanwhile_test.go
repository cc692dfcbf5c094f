package director

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// paced is a kernel that counts what is asked of it: each step of a dump, and
// each time that changes are sent.
type paced struct {
	*ipvsctltest.Fake
	mu    sync.Mutex // what follows, and what the functions use
	asked int
	step  func()             // between two steps of a dump
	sent  func([]ipvsctl.Op) // after changes were made
}

func (p *paced) DumpSteps(ctx context.Context, between func(ipvsctl.Table)) (ipvsctl.Table, error) {
	return p.Fake.DumpSteps(ctx, func(t ipvsctl.Table) {
		p.mu.Lock()
		p.asked++
		p.step()
		p.mu.Unlock()
		between(t)
	})
}

func (p *paced) Apply(ctx context.Context, ops []ipvsctl.Op) []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	errs := p.Fake.Apply(ctx, ops)
	p.sent(ops)
	return errs
}

// TestVerdictOvertakesPass: a server that fails in the middle of a full pass
// over 10 000 servers is out with the next thing that is asked of the kernel,
// while the pass reads and while it repairs.
func TestVerdictOvertakesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := many(10_000)
		p := &paced{Fake: ipvsctltest.NewFake(), step: func() {}, sent: func([]ipvsctl.Op) {}}
		d := New(Options{
			OpenKernel: func() (ipvsctl.Kernel, error) { return p, nil },
			Speaker:    &fakeSpeaker{}, Checks: &fakeChecks{}, StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		if err := d.Start(ctx, c); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		top := NewTopology(c)
		for _, k := range top.Keys {
			d.OnChange(health.Change{Key: k, To: health.Up, At: time.Now()})
		}
		time.Sleep(time.Second)
		synctest.Wait()

		// fail reports the first server of a service down, and waits until the
		// pass, which stands still meanwhile, can know.
		var failed ipvsctl.Op
		var at int
		fail := func(service int) {
			ts := &top.Services[service]
			d.OnChange(health.Change{Key: ts.Servers[0].Keys[0], To: health.Down, At: time.Now()})
			failed, at = ipvsctl.Op{Kind: ipvsctl.SetServer, Service: ts.Conf.Service, Server: ts.Servers[0].Conf.Kernel}, p.asked
			synctest.Wait()
		}
		var waited []string
		p.mu.Lock()
		p.sent = func(ops []ipvsctl.Op) {
			for _, o := range ops {
				if at > 0 && o.Service.Key == failed.Service.Key && o.Server.Key == failed.Server.Key && o.Server.Weight == 0 {
					waited = append(waited, fmt.Sprint(p.asked-at))
					at = 0
				}
			}
		}
		want := func(phase string, reports int) {
			t.Helper()
			p.mu.Lock()
			defer p.mu.Unlock()
			if at > 0 || len(waited) != reports {
				t.Errorf("%s: written after %v things asked of the kernel, one still open: %v", phase, waited, at > 0)
			}
			for _, n := range waited {
				if n != "1" {
					t.Errorf("%s: written after %v things asked of the kernel, want the next one", phase, waited)
				}
			}
			waited = nil
		}

		steps := 0
		p.step = func() {
			switch steps++; steps {
			case 50:
				fail(20) // was read
			case 60:
				fail(80) // was not
			}
		}
		p.mu.Unlock()
		time.Sleep(c.IPVS.ReconcileInterval + time.Second)
		synctest.Wait()
		want("reading", 2)
		if n := len(d.kernel.drift); n > 0 {
			t.Errorf("what overtook the pass counts as the work of somebody else: %v", d.kernel.drift)
		}

		// Everything is gone: the pass makes it anew.
		table, _ := p.Dump(t.Context())
		for k := range table {
			if err := p.Tamper(ipvsctl.Op{Kind: ipvsctl.DeleteService, Service: ipvsctl.Service{Key: k}}); err != nil {
				t.Fatal(err)
			}
		}
		p.mu.Lock()
		p.step = func() {}
		known, calls := p.sent, 0
		p.sent = func(ops []ipvsctl.Op) {
			known(ops)
			if calls++; calls == 100 {
				fail(10) // is there again
			}
		}
		p.mu.Unlock()
		time.Sleep(c.IPVS.ReconcileInterval + time.Second)
		synctest.Wait()
		want("repairing", 1)
		before := p.Writes()
		time.Sleep(c.IPVS.ReconcileInterval + time.Second)
		synctest.Wait()
		if n := p.Writes() - before; n > 0 {
			t.Errorf("a further pass makes %d changes", n)
		}
		cancel()
		<-done
	})
}
