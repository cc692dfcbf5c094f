package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// VRID of the one VRRP instance, and id of the sync daemon.
const (
	VRID   = 51
	SyncID = 51
)

// MetricsPort is where an agent that has an HTTP listener serves it, on the
// director's loopback address.
const MetricsPort = 10112

// Settings say what a pair of agents is to do, whichever program they are. The
// zero value of a field means the usual thing.
type Settings struct {
	Mode Mode
	// Advert interval, default 100 ms.
	Advert time.Duration
	// Priorities of lvs1 and lvs2, default 200 and 100.
	Priorities [2]int
	NoPreempt  bool
	// Servers of both services, in order; none makes it an election alone.
	Servers []netip.Addr
	// Check of the TCP service: "tcp" (default), "http" or "none".
	Check         string
	CheckInterval time.Duration // default 200 ms
	CheckTimeout  time.Duration // default the interval
	Fall, Rise    int           // default 1
	// UDPCheck probes the UDP service too (ours only).
	UDPCheck bool
	NoSync   bool
	// ReconcileInterval of the slow pass that repairs drift (ours only), default 1 s.
	ReconcileInterval time.Duration
	// Extra text for the end of the file.
	Extra string
}

// Usual settings for this lab: all its servers.
func (l *Lab) Usual() Settings {
	s := Settings{Mode: l.Mode}
	for _, srv := range l.Servers {
		s.Servers = append(s.Servers, srv.Addr)
	}
	return s
}

func (s Settings) filled() Settings {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&s.Advert, 100*time.Millisecond)
	def(&s.CheckInterval, 200*time.Millisecond)
	def(&s.CheckTimeout, s.CheckInterval)
	def(&s.ReconcileInterval, time.Second)
	if s.Priorities == [2]int{} {
		s.Priorities = [2]int{200, 100}
	}
	if s.Check == "" {
		s.Check = "tcp"
	}
	s.Fall, s.Rise = max(s.Fall, 1), max(s.Rise, 1)
	if s.Mode == "" {
		s.Mode = DR
	}
	return s
}

// Agent is a program that can run a director.
type Agent interface {
	Name() string
	// Write puts the configuration of director i (1 or 2) into a file.
	Write(file string, i int, s Settings) error
	// Command is what runs it with that file; dir is the agent's own.
	Command(file, dir string, i int) []string
}

// Director is a director's host with its agent.
type Director struct {
	Index int // 1 or 2
	Agent Agent
	// File is the configuration, Dir what else the agent keeps.
	File, Dir string

	lab  *Lab
	proc *Process
}

// Director makes agent the program of director i. It does not start it.
func (l *Lab) Director(i int, agent Agent, file string) *Director {
	return &Director{Index: i, Agent: agent, File: file, Dir: filepath.Join(l.Dir, fmt.Sprintf("lvs%d", i)), lab: l}
}

// Pair writes one configuration file (or one for each, if the agent needs it)
// and returns both directors, lvs1 the preferred one.
func (l *Lab) Pair(agent Agent, s Settings) (*Director, *Director, error) {
	var out [2]*Director
	for i := range out {
		file := filepath.Join(l.Dir, "lvs-ha.toml")
		if _, ours := agent.(LVSHA); !ours {
			file = filepath.Join(l.Dir, fmt.Sprintf("lvs%d.conf", i+1))
		}
		if err := agent.Write(file, i+1, s); err != nil {
			return nil, nil, err
		}
		out[i] = l.Director(i+1, agent, file)
	}
	return out[0], out[1], nil
}

// Host of the director.
func (d *Director) Host() *Host { return d.lab.Directors[d.Index-1] }

// Addr is its own address on the front network.
func (d *Director) Addr() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(d.Index)}) }

// Process that runs, nil before the first start.
func (d *Director) Process() *Process { return d.proc }

// Start starts the agent; it does not wait for anything.
func (d *Director) Start() (err error) {
	if _, ok := d.Agent.(Keepalived); ok {
		// Its pid files. It takes a dead process that nobody has collected yet for a running one.
		if err := os.RemoveAll(d.Dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return err
	}
	d.proc, err = d.Host().Start(d.Agent.Name(), nil, d.Agent.Command(d.File, d.Dir, d.Index))
	return err
}

// Reload makes the agent read its file again.
func (d *Director) Reload() error { return d.proc.Signal(syscall.SIGHUP) }

// Stop ends the agent in order and waits.
func (d *Director) Stop(ctx context.Context) (code int, err error) {
	if err := d.proc.Signal(syscall.SIGTERM); err != nil {
		return -1, err
	}
	return d.proc.Wait(ctx)
}

// Kill ends all its processes with SIGKILL at one instant.
func (d *Director) Kill(ctx context.Context) error { return d.proc.KillAll(ctx) }

// HasVIP tells whether the VIP is on the director's interface now.
func (d *Director) HasVIP() (bool, error) { return d.Host().Has(VIP) }

// Metrics fetches the page of the director's agent.
func (d *Director) Metrics(ctx context.Context) (Metrics, error) {
	code, body, err := d.Host().Get(ctx, fmt.Sprintf("http://127.0.0.1:%d/metrics", MetricsPort))
	if err != nil {
		return nil, err
	}
	if code != 200 {
		return nil, fmt.Errorf("/metrics answers %d", code)
	}
	return ParseMetrics(body), nil
}

// AwaitVIP waits until the director holds (or not) the VIP.
func (d *Director) AwaitVIP(ctx context.Context, want bool) error {
	return Until(ctx, "the VIP moves", func() error { return d.CheckVIP(want) })
}

// CheckVIP is an error unless the director holds (or not) the VIP now.
func (d *Director) CheckVIP(want bool) error {
	has, err := d.HasVIP()
	switch {
	case err != nil:
		return err
	case want && !has:
		return fmt.Errorf("%s does not hold the VIP", d.Host().Name)
	case has && !want:
		return fmt.Errorf("%s holds the VIP", d.Host().Name)
	}
	return nil
}

// AwaitWeights waits until the director's table has exactly these weights for
// the TCP service.
func (d *Director) AwaitWeights(ctx context.Context, want map[netip.Addr]int) error {
	return Until(ctx, fmt.Sprintf("the table of %s has the weights %v", d.Host().Name, want), func() error {
		got, err := d.Host().Weights()
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("it has %v", got)
		}
		for a, w := range want {
			if g, ok := got[a]; !ok || g != w {
				return fmt.Errorf("it has %v", got)
			}
		}
		return nil
	})
}
