package host

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Stragglers are packets in the middle of a TCP connection that reach a
// director whose kernel has no entry for it: the connection began on another
// director, and was too young to be copied when the addresses moved. Here is
// what becomes of those to the services of one VRRP instance.
type Stragglers struct {
	Instance  string // for people
	Interface string // of the instance
	// Back is the director that they are sent to as they are, an address on the
	// network of Interface; invalid for nowhere. What it sends itself does not
	// go back to it: this machine's own TCP answers that.
	Back netip.Addr
	// Take those that still come here, or are sent back here, although the
	// services' addresses have gone from this machine.
	Take     bool
	Services []Ports
}

// Ports of an address that a service has; 0 to 65535 is every one.
type Ports struct {
	Addr        netip.Addr
	First, Last uint16
}

// hop is a neighbour as packets find it.
type hop struct {
	link int32
	mac  [6]byte
}

// straggling is what a StragglerKeeper does its work on.
type straggling interface {
	// neighbour asks the link for an address. Not known: the question is on its way.
	neighbour(link string, a netip.Addr) (n hop, known bool, err error)
	// write makes the tables what is wanted, and takes away what is not.
	write(strayTables) (passed strayCount, err error)
	// present tells whether the tables are there.
	present(strayTables) (bool, error)
}

// strayCount of packets that tables have let pass until they were replaced.
type strayCount struct{ back, taken uint64 }

// StragglerKeeper has the kernel do what was Set last. Run does the work.
type StragglerKeeper struct {
	m   straggling
	log *slog.Logger

	progress
	want    []Stragglers
	ended   bool   // by Stop: nothing is wanted any more
	finding string // present, for people

	// Run only.
	written string // as last written
	unsure  bool   // what is there: of an earlier process, or half written
}

const (
	strayLook  = 10 * time.Second       // somebody may have flushed the tables
	strayAgain = 100 * time.Millisecond // first wait for a neighbour, which doubles
)

// NewStragglerKeeper starts nothing.
func NewStragglerKeeper(log *slog.Logger) *StragglerKeeper {
	return newStragglerKeeper(strayKernel{}, log)
}

func newStragglerKeeper(m straggling, log *slog.Logger) *StragglerKeeper {
	return &StragglerKeeper{m: m, log: log, progress: newProgress(), unsure: true}
}

// Set replaces what is wanted. It does not block.
func (k *StragglerKeeper) Set(want []Stragglers) {
	k.mu.Lock()
	if !k.ended {
		k.want = want
		k.seq++
	}
	k.mu.Unlock()
	k.kick()
}

// Stop leaves nothing of ours, whatever is Set later; Run has to be running.
func (k *StragglerKeeper) Stop(ctx context.Context) error {
	k.Set(nil)
	k.mu.Lock()
	k.ended = true
	k.mu.Unlock()
	return k.Wait(ctx)
}

// Findings are the things that are not as they should be now, for people.
func (k *StragglerKeeper) Findings() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.finding == "" {
		return nil
	}
	return []string{k.finding}
}

// Run is the loop; it ends with ctx.
func (k *StragglerKeeper) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var latest uint64
	again := strayAgain
	for {
		k.mu.Lock()
		want, seq := k.want, k.seq
		k.mu.Unlock()
		if seq != latest {
			latest, again = seq, strayAgain
		}
		wait := strayLook
		if !k.pass(want, seq) {
			wait = again
			again = min(2*again, strayLook)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// pass tells whether every neighbour was known.
func (k *StragglerKeeper) pass(want []Stragglers, seq uint64) (all bool) {
	all = true
	finding := ""
	var known []strayPath
	for i := range want {
		w := &want[i]
		p := strayPath{Stragglers: w}
		if w.Back.IsValid() {
			var err error
			p.to, p.back, err = k.m.neighbour(w.Interface, w.Back)
			if err != nil {
				finding = fmt.Sprintf("connections that are in their handshake when mastership of %s moves are lost: %v; [ipvs] stragglers = false if that is so wanted", w.Instance, err)
			}
			all = all && p.back
		}
		known = append(known, p)
	}
	if err := k.update(compileStrays(known)); err != nil {
		finding = fmt.Sprintf("connections that are in their handshake when mastership moves are lost: %v; [ipvs] stragglers = false if that is so wanted", err)
	}
	k.mu.Lock()
	news := finding != k.finding
	k.finding = finding
	k.over(seq)
	k.mu.Unlock()
	switch {
	case news && finding != "":
		k.log.Warn(finding, "event", "host_finding", "subject", "stragglers")
	case news:
		k.log.Info("as it should be again", "event", "host_finding_over", "subject", "stragglers")
	}
	return all
}

// update writes what differs.
func (k *StragglerKeeper) update(t strayTables) error {
	text := t.text()
	if text == k.written && !k.unsure {
		if text == "" {
			return nil
		}
		if there, err := k.m.present(t); err != nil || there {
			return err
		}
	}
	k.unsure = true
	count, err := k.m.write(t)
	if count != (strayCount{}) {
		k.log.Info("packets of connections that another director knew went back to it, or were taken without the address", "event", "stragglers",
			"back", count.back, "taken", count.taken)
	}
	if err != nil {
		return err
	}
	k.log.Debug("nftables tables written", "event", "nft_written", "table", StragglerTableName, "text", text)
	k.written, k.unsure = text, false
	return nil
}
