package health

import (
	"time"

	"lvs-ha/internal/histogram"
)

// State is the verdict on one check.
type State uint8

const (
	Unknown State = iota // no result yet
	Up
	Down
)

func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "unknown"
	}
}

// Key identifies a distinct check: equal specs have equal keys. It is stable
// over restarts of the same version and safe as a map key; it is not for people.
type Key string

// Change is what the scheduler reports: a check's verdict changed (the first
// verdict is a change from Unknown).
type Change struct {
	Key      Key
	From, To State
	At       time.Time
	// Failure that decided a change to Down, else nil. From Down to Down a server
	// changes when it fails in another kind (see Reason.Hard).
	Failure *Failure
	// Took is how long the deciding probe ran.
	Took time.Duration
	// Advice of the server, while it is up. A change of it alone is a change
	// from Up to Up.
	Advice Advice
}

// Status of one distinct check.
type Status struct {
	Key   Key
	Spec  Spec
	State State
	Since time.Time // of the present state
	// Streak counts equal results in a row: positive successes, negative failures.
	Streak int
	OK     uint64 // probes that passed
	// Failed probes by reason; ReasonInternal is there too though it never counts against the server.
	Failed map[Reason]uint64
	// Last finished probe; LastFailure is nil if it passed.
	LastAt      time.Time
	LastTook    time.Duration
	LastFailure *Failure
	Duration    histogram.Snapshot // seconds, of finished probes
	Advice      Advice             // of the server, while it is up
	// NotAfter is when the certificate that the server last showed ends; zero if it showed none.
	NotAfter time.Time
	Hold     HoldStatus
}
