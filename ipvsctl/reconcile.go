package ipvsctl

import (
	"context"
	"time"
)

// Goal is what the kernel should hold.
type Goal struct {
	Table Table
	// Keep names servers whose weight in the kernel stands if they are there;
	// a missing one is added with the weight in Table.
	Keep map[ServiceKey]map[ServerKey]bool
	// Owned services may be deleted when they are not in Table. Others are not
	// touched, unless the goal is Exclusive.
	Owned map[ServiceKey]bool
	// Exclusive: others go too, in each full pass but the first complete one.
	Exclusive bool
	// ManageDaemons says that Daemons is to be made true (possibly: none).
	ManageDaemons bool
	Daemons       []Daemon
	Timeouts      Timeouts
}

// Report of one pass.
type Report struct {
	// Table and Daemons are what the kernel holds after the pass, as far as
	// known. The table is the caller's, its entries are not to be changed.
	Table   Table
	Daemons []Daemon
	// Changed names services that were not in the kernel as they had been left
	// there, whether or not that matters to the goal. A service may be named twice.
	Changed []ServiceKey
	// Done and Failed are the changes that were sent.
	Done   []Op
	Failed []OpError
	// Drift lists differences that were not ours, repaired in this pass.
	Drift []Drift
	// Contended lists objects that somebody keeps changing and that are left as
	// they are for a while (Reconciler.SetContention), with the latest repair.
	Contended []Drift
	// Unmanaged counts services in the kernel that are neither in the goal nor owned.
	Unmanaged int
	Took      time.Duration
}

// Drift is one difference between what we left in the kernel and what we found.
type Drift struct {
	// Kind: missing_service, extra_service, missing_server, extra_server, weight, options, daemon.
	Kind    string
	Service ServiceKey
	Server  ServerKey // zero for a service
	Detail  string
}

// OpError is a change that the kernel refused.
type OpError struct {
	Op  Op
	Err error
}

// Kernel is the IPVS of one network namespace. One goroutine uses it at a time;
// another one may call Stats meanwhile.
// Errors are classed by errors.Is with the syscall.Errno that the kernel gave.
type Kernel interface {
	Dump(ctx context.Context) (Table, error)
	Stats(ctx context.Context) (map[ServiceKey]EntryStats, error)
	// Apply sends changes in order; errs[i] belongs to ops[i], nil if it was done.
	Apply(ctx context.Context, ops []Op) (errs []error)
	Daemons(ctx context.Context) ([]Daemon, error)
	Timeouts(ctx context.Context) (Timeouts, error)
	Close() error
}
