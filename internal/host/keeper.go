package host

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Want is what the configuration needs of the machine. The zero value needs nothing.
type Want struct {
	Sysctls []Sysctl
	// Manage settings: write what differs. Otherwise it is only reported.
	Manage bool
	// Rules of our nftables table; without any there is no table.
	Rules Rules
	// Leave nothing of ours at an orderly stop.
	Leave bool
	// Interval of the slow pass that repairs what somebody changed.
	Interval time.Duration
}

// machine is what a Keeper does its work on.
type machine interface {
	readSysctl(key string) (string, error)
	writeSysctl(key, value string) error
	readTable() (*table, error)   // nil: there is none
	writeTable(*table) error      // nil removes it
	endFlows([]Flow) (int, error) // and tells how many there were
}

// Keeper makes the machine as the latest Want has it and keeps it so. Run does
// the work; everything else may be called at any time and does not block.
type Keeper struct {
	m   machine
	log *slog.Logger

	progress
	want     *Want    // nil before the first
	findings []string // present, for people
	repairs  map[string]uint64
	ending   []Flow
	paused   bool // look, but change nothing

	// Run only.
	told  map[string]string // what was said of a subject, to say it once
	ours  map[string]string // settings as we left them
	table tableMemory
}

// NewKeeper starts nothing.
func NewKeeper(log *slog.Logger) *Keeper { return newKeeper(kernel{}, log) }

func newKeeper(m machine, log *slog.Logger) *Keeper {
	return &Keeper{m: m, log: log, progress: newProgress(), repairs: map[string]uint64{},
		told: map[string]string{}, ours: map[string]string{}}
}

// minInterval of passes, in which each reads a dozen files and the table.
const minInterval = time.Second

// Set replaces what is wanted.
func (k *Keeper) Set(w Want) {
	k.mu.Lock()
	k.want = &w
	k.seq++
	k.mu.Unlock()
	k.kick()
}

// Pause stops all changes of the machine, or starts them again. What is not as
// it should be meanwhile is reported. It does not block.
func (k *Keeper) Pause(on bool) {
	k.mu.Lock()
	changed := k.paused != on
	k.paused = on
	k.mu.Unlock()
	if changed {
		k.kick()
	}
}

// Stop removes our table if the latest Want says so, and waits for that. Run
// has to be running. Settings stay: nobody knows who else relies on them by now.
func (k *Keeper) Stop(ctx context.Context) error {
	k.mu.Lock()
	leave := k.want != nil && k.want.Leave
	k.mu.Unlock()
	if !leave {
		return nil
	}
	k.Set(Want{})
	return k.Wait(ctx)
}

// Findings are the things that are not as they should be now, for people.
func (k *Keeper) Findings() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.findings)
}

// What Repairs counts; metrics lists them.
const (
	RepairSysctl   = "sysctl"
	RepairNFTables = "nftables"
)

// Repairs counts what somebody had changed and was set right again, by kind.
func (k *Keeper) Repairs() map[string]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.repairs)
}

func (k *Keeper) repaired(kind string) {
	k.mu.Lock()
	k.repairs[kind]++
	k.mu.Unlock()
}

// Run is the loop; it ends with ctx.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		k.mu.Lock()
		want, seq, ending, paused := k.want, k.seq, k.ending, k.paused
		if !paused {
			k.ending = nil
		}
		k.mu.Unlock()
		if want != nil {
			k.pass(want, seq, paused)
			timer.Reset(max(want.Interval, minInterval))
		}
		// After the rules, for thousands of entries take their time and the rules
		// are for whoever comes next.
		if len(ending) > 0 && !paused {
			k.end(ending)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-timer.C:
		}
	}
}

func (k *Keeper) pass(want *Want, seq uint64, paused bool) {
	var r report
	k.sysctls(want, &r, paused)
	k.rules(want, &r, paused)
	k.tell(&r)
	k.mu.Lock()
	k.findings = r.texts()
	k.over(seq)
	k.mu.Unlock()
}
