package director

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// watched tells when the first change of a batch is handed to the kernel and
// when the kernel has answered.
type watched struct {
	ipvsctl.Kernel
	told chan instants
}

type instants struct{ sent, done time.Time }

func (w *watched) Apply(ctx context.Context, ops []ipvsctl.Op) []error {
	i := instants{sent: time.Now()}
	errs := w.Kernel.Apply(ctx, ops)
	i.done = time.Now()
	select {
	case w.told <- i:
	default:
	}
	return errs
}

// onKernel runs a director, all servers up, and waits until it rests.
func onKernel(t testing.TB, c *conf.Config, k ipvsctl.Kernel) (*Director, *Topology) {
	t.Helper()
	d := New(Options{
		OpenKernel: func() (ipvsctl.Kernel, error) { return k, nil },
		Speaker:    &fakeSpeaker{}, Checks: &fakeChecks{}, StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	if err := d.Start(ctx, c); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	top := NewTopology(c)
	for _, k := range top.Keys {
		d.OnChange(health.Change{Key: k, To: health.Up, At: time.Now()})
	}
	end := time.Now().Add(time.Minute)
	for ready := false; !ready && time.Now().Before(end); {
		_ = d.do(ctx, func() { ready = d.ready && !d.dirty && d.kernel.applied == d.goalSeq && !time.Now().Before(d.rest) })
	}
	return d, top
}

// flip reports one server down or up, and tells how long it took until the
// change was handed to the kernel, and until the kernel had answered.
func flip(t testing.TB, d *Director, w *watched, k health.Key, to health.State) (sent, done time.Duration) {
	t.Helper()
	select {
	case <-w.told: // of an earlier one
	default:
	}
	start := time.Now()
	d.OnChange(health.Change{Key: k, To: to, At: start, Failure: &health.Failure{Reason: health.ReasonRefused, Detail: "connection refused"}})
	select {
	case i := <-w.told:
		return i.sent.Sub(start), i.done.Sub(start)
	case <-time.After(time.Minute):
		t.Fatal("nothing was written")
	}
	return 0, 0
}

// BenchmarkVerdictAmong10000 is the way of one verdict among 10 000 servers: to
// the change that is handed to the kernel (sent, the median) and to the
// kernel's answer. In the second shape all servers are in one service.
func BenchmarkVerdictAmong10000(b *testing.B) {
	for _, each := range []int{100, 10_000} {
		b.Run(fmt.Sprint(each), func(b *testing.B) {
			w := &watched{ipvsctltest.NewFake(), make(chan instants, 1)}
			d, top := onKernel(b, farm(10_000, each), w)
			var all []time.Duration
			for b.Loop() {
				i := len(all)
				to := health.Down
				if i%2 == 1 {
					to = health.Up
				}
				sent, _ := flip(b, d, w, top.Keys[i/2*37%len(top.Keys)], to)
				all = append(all, sent)
				b.StopTimer()
				time.Sleep(time.Duration(each) * 10 * time.Microsecond) // single ones, not a burst
				b.StartTimer()
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Nanoseconds()), "ns/sent")
		})
	}
}

// TestVerdictToKernelWrite measures the same on the real kernel. The limit is
// for a guest in virtual time, where figures do not depend on the load. With all
// servers in one service the kernel itself looks through them (ip_vs_lookup_dest).
func TestVerdictToKernelWrite(t *testing.T) {
	if os.Getenv("LVSHA_GUEST") == "" {
		t.Skip("wants a kernel of its own and virtual time (test/vm/go-test)")
	}
	k, err := ipvsctl.Open()
	if err != nil {
		if strings.Contains(os.Getenv("LVSHA_REQUIRE"), "ipvs") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	k.Close()
	for _, each := range []int{100, 10_000} {
		t.Run(fmt.Sprint(each), func(t *testing.T) { verdictsToKernel(t, each) })
	}
}

func verdictsToKernel(t *testing.T, each int) {
	open := func() ipvsctl.Kernel {
		k, err := ipvsctl.Open()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	c := farm(10_000, each)
	t.Cleanup(func() { // after the director has closed its own
		k := open()
		defer k.Close()
		if _, err := ipvsctl.NewReconciler(k, nil).Full(context.Background(), ipvsctl.Goal{Owned: NewTopology(c).ServiceKeys()}); err != nil {
			t.Error(err)
		}
	})
	w := &watched{open(), make(chan instants, 1)}
	d, top := onKernel(t, c, w)
	var sent, done []time.Duration
	for i := range 200 {
		to := health.Down
		if i%2 == 1 {
			to = health.Up
		}
		s, a := flip(t, d, w, top.Keys[i/2*37], to)
		sent, done = append(sent, s), append(done, a)
		time.Sleep(7 * time.Millisecond) // single ones, not a burst
	}
	slices.Sort(sent)
	slices.Sort(done)
	fmt.Printf("verdict to kernel write, one of 10000 servers, %d in a service: handed over after median %v, 95%% %v, most %v; answered after median %v, 95%% %v, most %v\n",
		each, sent[100], sent[190], sent[199], done[100], done[190], done[199])
	if limit := 500 * time.Microsecond; sent[100] > limit/2 || done[100] > limit {
		t.Errorf("median %v handed over, %v answered, limits %v and %v", sent[100], done[100], limit/2, limit)
	}
}
