package ipvsctl

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Info of the IPVS module.
type Info struct {
	Version       string // "1.2.1"
	ConnTableSize int    // hash buckets of the connection table
}

// Inspector is a Kernel that tells its version and forgets its counters.
// Open gives one.
type Inspector interface {
	Info(ctx context.Context) (Info, error)
	// Zero sets the counters of a service and its servers to 0, or all for nil. ESRCH if there is no such service.
	Zero(ctx context.Context, k *ServiceKey) error
}

// An Option of Open.
type Option func(*ipvsKernel)

// InNetNS uses the IPVS of the network namespace at a path, e.g. /run/netns/lvs.
// The default is that of the calling thread.
func InNetNS(path string) Option { return func(k *ipvsKernel) { k.netns = path } }

// AnswerWithin bounds the wait for each answer of the kernel, in addition to
// the context; the default is 5 s.
func AnswerWithin(d time.Duration) Option { return func(k *ipvsKernel) { k.timeout = d } }

// HoldNew has the new connections of a service held while the kernel exchanges
// its scheduler: in between, which may be some ten milliseconds, there is none,
// and the kernel refuses what arrives (net/netfilter/ipvs/ip_vs_ctl.c,
// ip_vs_edit_service). hold is called just before, release just after.
func HoldNew(hold func(ServiceKey) (release func())) Option {
	return func(k *ipvsKernel) { k.hold = hold }
}

// ipvsKernel is the running kernel. A socket on which something went wrong is
// closed, and the next call opens another and looks the family up again: that
// survives lost answers and a module that was loaded anew.
type ipvsKernel struct {
	netns   string
	timeout time.Duration
	hold    func(ServiceKey) (release func()) // nil: not wanted

	mu     sync.Mutex
	c      *conn // nil until the next call opens it
	moby   moby
	closed bool
	batch  []int // scratch: positions in Apply's ops
}

// Open finds the IPVS of the running kernel, which loads the module if it can.
// It returns ErrNoIPVS or ErrPermission (errors.Is) where there is nothing to
// be had. The Kernel is also an Inspector, a ServiceReader and a StepDumper.
// Its methods may be called from any goroutine; they wait for one another, but
// Dump and Stats let others go between their steps.
func Open(opts ...Option) (Kernel, error) {
	k := &ipvsKernel{timeout: 5 * time.Second}
	for _, o := range opts {
		o(k)
	}
	k.moby.netns = k.netns
	// Only this tells whether we may: the family is shown to everybody.
	if _, err := k.Info(context.Background()); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Close ends the handle. The table stays.
func (k *ipvsKernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.reset()
	return nil
}

func (k *ipvsKernel) reset() {
	if k.c != nil {
		k.c.Close()
		k.c = nil
	}
	k.moby.close()
}

// with runs f on a good socket within the time given. The lock is held.
func (k *ipvsKernel) with(ctx context.Context, f func(*conn) error) error {
	if k.closed {
		return unix.EBADF
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fresh := k.c == nil
	if fresh {
		c, err := dial(k.netns, k.timeout)
		if err != nil {
			return err
		}
		k.c = c
	}
	err := k.try(ctx, f)
	if err != nil && !fresh && errors.Is(err, unix.ENOENT) && !k.familyStands() {
		// The module was loaded anew: the family has another number.
		k.reset()
		return k.with(ctx, f)
	}
	return err
}

func (k *ipvsKernel) try(ctx context.Context, f func(*conn) error) error {
	end, err := k.c.until(ctx, k.timeout)
	if err != nil {
		k.reset()
		return err
	}
	err = f(k.c)
	end()
	switch {
	case err == nil:
	case errors.Is(err, ErrTransport):
		k.reset()
		if cause := ctx.Err(); cause != nil {
			return fmt.Errorf("%w: %w", err, cause)
		}
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}

// familyStands says whether the family still has the number that we use.
func (k *ipvsKernel) familyStands() bool {
	if k.c == nil {
		return false
	}
	if err := k.c.c.SetDeadline(time.Now().Add(k.timeout)); err != nil {
		return false
	}
	id, err := k.c.resolve()
	return err == nil && id == k.c.family
}

// Info asks for version and size.
func (k *ipvsKernel) Info(ctx context.Context) (i Info, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.with(ctx, func(c *conn) error {
		return c.get(cmdGetInfo, nil, func(b []byte) (err error) {
			i, err = parseInfo(b)
			return err
		})
	})
	return i, err
}

// Zero sets counters to 0.
func (k *ipvsKernel) Zero(ctx context.Context, key *ServiceKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key != nil {
		if err := checkService(Service{Key: *key}); err != nil {
			return err
		}
	}
	return k.with(ctx, func(c *conn) error {
		return c.get(cmdZero, func(e *encoder) {
			if key != nil {
				e.serviceKey(*key)
			}
		}, func([]byte) error { return nil })
	})
}

// Dump reads the table: the services, then the servers of each. A table that
// somebody writes meanwhile is read wrong: entries may be missing or old.
func (k *ipvsKernel) Dump(ctx context.Context) (Table, error) {
	return k.DumpSteps(ctx, func(Table) {})
}

// DumpSteps is Dump; a step is a service, or several small ones.
func (k *ipvsKernel) DumpSteps(ctx context.Context, between func(Table)) (Table, error) {
	t := Table{}
	var services []Service
	err := k.locked(ctx, func(c *conn) (err error) {
		services, err = dumpServices(c, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	var servers []Server
	for size := 0; len(services) > 0; size = 0 {
		if len(t) > 0 {
			between(t)
		}
		err := k.locked(ctx, func(c *conn) (err error) {
			for ; len(services) > 0 && size < stepSize; services = services[1:] {
				s := services[0]
				if servers, err = dumpServers(c, s.Key, servers[:0], nil); err != nil {
					return err
				}
				size += 1 + len(servers)
				if len(servers) == 0 {
					// The kernel gives an empty list for a service that is gone, too.
					if _, err := getService(c, s.Key); errors.Is(err, unix.ESRCH) {
						continue
					} else if err != nil {
						return err
					}
				}
				e := Entry{s, make(map[ServerKey]Server, len(servers))}
				for _, srv := range servers {
					e.Servers[srv.Key] = srv
				}
				t[s.Key] = e
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// locked runs f with the handle for its own.
func (k *ipvsKernel) locked(ctx context.Context, f func(*conn) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.with(ctx, f)
}

// ReadService reads one service. ESRCH if there is none.
func (k *ipvsKernel) ReadService(ctx context.Context, key ServiceKey) (e Entry, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := checkService(Service{Key: key}); err != nil {
		return e, err
	}
	err = k.with(ctx, func(c *conn) error {
		servers, err := dumpServers(c, key, nil, nil)
		if err != nil {
			return err
		}
		// Second, so that the list was not empty because there is no service.
		s, err := getService(c, key)
		if err != nil {
			return err
		}
		e = Entry{s, make(map[ServerKey]Server, len(servers))}
		for _, srv := range servers {
			e.Servers[srv.Key] = srv
		}
		return nil
	})
	return e, err
}

// Stats reads all counters, 64 bits wide.
func (k *ipvsKernel) Stats(ctx context.Context) (map[ServiceKey]EntryStats, error) {
	out := make(map[ServiceKey]EntryStats)
	var counters []Counters
	var services []Service
	err := k.locked(ctx, func(c *conn) (err error) {
		counters = counters[:0]
		services, err = dumpServices(c, &counters)
		return err
	})
	if err != nil {
		return nil, err
	}
	var servers []Server
	var stats []ServerStats
	for i := 0; i < len(services); {
		err := k.locked(ctx, func(c *conn) (err error) {
			for size := 0; i < len(services) && size < stepSize; i++ {
				stats = stats[:0]
				if servers, err = dumpServers(c, services[i].Key, servers[:0], &stats); err != nil {
					return err
				}
				size += 1 + len(servers)
				e := EntryStats{counters[i], make(map[ServerKey]ServerStats, len(servers))}
				for j, srv := range servers {
					e.Servers[srv.Key] = stats[j]
				}
				out[services[i].Key] = e
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		runtime.Gosched() // on one processor somebody may not have come as far as to wait
	}
	return out, nil
}

func dumpServices(c *conn, counters *[]Counters) (out []Service, err error) {
	err = c.dump(cmdGetService, nil, func(b []byte) error {
		var n *Counters
		if counters != nil {
			*counters = append(*counters, Counters{})
			n = &(*counters)[len(*counters)-1]
		}
		s, err := parseService(b, n)
		if err == nil {
			out = append(out, s)
		}
		return err
	})
	return out, err
}

func dumpServers(c *conn, k ServiceKey, out []Server, stats *[]ServerStats) ([]Server, error) {
	err := c.dump(cmdGetDest, func(e *encoder) { e.serviceKey(k) }, func(b []byte) error {
		var st *ServerStats
		if stats != nil {
			*stats = append(*stats, ServerStats{})
			st = &(*stats)[len(*stats)-1]
		}
		s, err := parseServer(b, k.Family, st)
		if err == nil {
			out = append(out, s)
		}
		return err
	})
	return out, err
}

func getService(c *conn, k ServiceKey) (s Service, err error) {
	err = c.get(cmdGetService, func(e *encoder) { e.serviceKey(k) }, func(b []byte) (err error) {
		s, err = parseService(b, nil)
		return err
	})
	return s, err
}

// Daemons lists the running sync daemons, master first.
func (k *ipvsKernel) Daemons(ctx context.Context) (out []Daemon, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.with(ctx, func(c *conn) error {
		out = nil
		return c.dump(cmdGetDaemon, nil, func(b []byte) error {
			d, err := parseDaemon(b)
			if err == nil {
				out = append(out, d)
			}
			return err
		})
	})
	return out, err
}

// Timeouts reads the timeouts of connection entries.
func (k *ipvsKernel) Timeouts(ctx context.Context) (t Timeouts, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.with(ctx, func(c *conn) error {
		if !k.moby.usable(c) {
			return c.get(cmdGetConfig, nil, func(b []byte) (err error) {
				t, err = parseTimeouts(b)
				return err
			})
		}
		var err error
		t, err = k.moby.timeouts(ctx, k.timeout)
		return err
	})
	return t, err
}
