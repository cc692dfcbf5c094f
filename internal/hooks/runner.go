package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"lvs-ha/internal/command"
)

// Result of a run; a closed set.
type Result string

const (
	OK      Result = "ok"
	Failed  Result = "fail"
	Timeout Result = "timeout"
)

// Results lists all, in order.
var Results = []Result{OK, Failed, Timeout}

// Run labels a counter: the hook's instance, and how it ended.
type Run struct {
	Instance string
	Result   Result
}

// Options of a runner.
type Options struct {
	// File keeps the queue; "" for none.
	File string
	// Speaker tells the numbers of one speaker from those of another.
	Speaker int
	Log     *slog.Logger
}

// Runner owns the queue. All methods are safe for many goroutines.
type Runner struct {
	o Options

	mu      sync.Mutex
	ctx     context.Context // of Run; nil while it does not run
	wg      sync.WaitGroup
	last    uint64
	hooks   map[string]*Hook // nil until they are known: events wait
	retired map[string]*Hook // of instances that are on their way out
	lanes   map[string]*lane
	runs    map[Run]uint64
	broken  bool // the file cannot be written, as last logged
	idle    chan struct{}
}

// lane is the queue of one instance.
type lane struct {
	events []Event // the first one runs if busy
	busy   bool
}

// New makes a runner with what an earlier one left to do; it starts nothing.
func New(o Options) *Runner {
	r := &Runner{
		o: o, retired: map[string]*Hook{}, lanes: map[string]*lane{}, runs: map[Run]uint64{},
	}
	if o.File == "" {
		return r
	}
	f, err := load(o.File)
	if err != nil {
		o.Log.Warn("hooks that were waiting are lost", "event", "notify_queue", "err", err)
		return r
	}
	if f.Speaker == o.Speaker {
		r.last = f.Last
		for _, e := range f.Events {
			r.lane(e.Instance).events = append(r.lane(e.Instance).events, e)
		}
	}
	return r
}

// Set replaces the hooks, by instance: nil for one without a hook. An instance
// that is no longer there keeps its hook until that was told of its stop.
func (r *Runner) Set(hooks map[string]*Hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, h := range r.hooks {
		if _, there := hooks[name]; !there && h != nil {
			r.retired[name] = h
		}
	}
	for name := range hooks {
		delete(r.retired, name)
	}
	r.hooks = hooks
	r.beginAll()
}

// Post queues an event. When it returns the event is kept, also over the end
// of this process.
func (r *Runner) Post(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Seq <= r.last {
		return
	}
	r.last = e.Seq
	if r.hooks != nil && r.hook(e.Instance) == nil {
		return
	}
	l := r.lane(e.Instance)
	l.events = append(l.events, e)
	if len(l.events) > laneLimit {
		first := 0
		if l.busy {
			first = 1
		}
		r.o.Log.Warn("hooks run slower than the state changes, leaving one out", "event", "notify_dropped",
			"vrrp_instance", e.Instance, "state", string(l.events[first].State))
		l.events = append(l.events[:first], l.events[first+1:]...)
	}
	r.save()
	r.begin(l)
}

// Run runs commands until ctx ends; those that run then are killed. Call it once.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.beginAll()
	r.mu.Unlock()
	<-ctx.Done()
	r.wg.Wait()
	return nil
}

// Drain waits until nothing is left to run. It returns ctx's error if it ends first.
func (r *Runner) Drain(ctx context.Context) error {
	r.mu.Lock()
	if r.quiet() {
		r.mu.Unlock()
		return nil
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Runs counts the commands that have ended, with a zero for each result of a
// configured hook.
func (r *Runner) Runs() map[Run]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[Run]uint64, len(r.runs))
	for name, h := range r.hooks {
		if h == nil {
			continue
		}
		for _, x := range Results {
			out[Run{name, x}] = r.runs[Run{name, x}]
		}
	}
	return out
}

func (r *Runner) lane(name string) *lane {
	l := r.lanes[name]
	if l == nil {
		l = &lane{}
		r.lanes[name] = l
	}
	return l
}

func (r *Runner) hook(name string) *Hook {
	if h, there := r.hooks[name]; there {
		return h
	}
	return r.retired[name]
}

func (r *Runner) quiet() bool {
	for _, l := range r.lanes {
		if len(l.events) > 0 {
			return false
		}
	}
	return true
}

func (r *Runner) beginAll() {
	for _, l := range r.lanes {
		r.begin(l)
	}
}

// begin starts the worker of a lane that has something to do.
func (r *Runner) begin(l *lane) {
	if r.ctx == nil || r.hooks == nil || r.ctx.Err() != nil || l.busy || len(l.events) == 0 {
		return
	}
	l.busy = true
	r.wg.Go(func() { r.work(r.ctx, l) })
}

// work runs what a lane holds, one after the other.
func (r *Runner) work(ctx context.Context, l *lane) {
	for {
		r.mu.Lock()
		if len(l.events) == 0 || ctx.Err() != nil {
			l.busy = false
			if r.idle != nil && r.quiet() {
				close(r.idle)
				r.idle = nil
			}
			r.mu.Unlock()
			return
		}
		e := l.events[0]
		h := r.hook(e.Instance)
		r.mu.Unlock()

		result := OK
		if h != nil {
			result = r.run(ctx, h, &e)
		}
		if ctx.Err() != nil {
			continue // it was killed, and is left to the next director
		}
		r.mu.Lock()
		l.events = l.events[1:]
		if h != nil {
			r.runs[Run{e.Instance, result}]++
		}
		if e.State == Stop {
			delete(r.retired, e.Instance)
		}
		r.save()
		r.mu.Unlock()
	}
}

// run runs one command and logs how it ended.
func (r *Runner) run(ctx context.Context, h *Hook, e *Event) Result {
	argv, env := h.command(e)
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	res, err := command.Command{Argv: argv, Env: env}.Run(limited)
	if ctx.Err() != nil {
		return Failed
	}
	log := r.o.Log.With("vrrp_instance", e.Instance, "command", h.Argv[0], "state", string(e.State),
		"took", time.Since(began).Round(time.Millisecond))
	if text := printable(res.Output); text != "" {
		log = log.With("output", text)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		log.Error("notify command killed at its deadline", "event", "notify", "deadline", h.Timeout)
		return Timeout
	case err == nil && res.Signal != 0:
		err = fmt.Errorf("killed by signal %d", res.Signal)
	case err == nil && res.Code != 0:
		err = fmt.Errorf("exit status %d", res.Code)
	}
	if err != nil {
		log.Error("notify command failed", "event", "notify", "err", err)
		return Failed
	}
	log.Info("notify command done", "event", "notify")
	return OK
}

// save keeps the queue; called with the lock held.
func (r *Runner) save() {
	if r.o.File == "" {
		return
	}
	f := file{Speaker: r.o.Speaker, Last: r.last}
	for _, l := range r.lanes {
		f.Events = append(f.Events, l.events...)
	}
	err := save(r.o.File, &f)
	if err != nil && !r.broken {
		r.o.Log.Warn("hooks that wait will be lost if the director process ends", "event", "notify_queue", "err", err)
	}
	r.broken = err != nil
}
