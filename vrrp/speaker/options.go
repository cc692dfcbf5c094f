package speaker

import (
	"log/slog"

	"lvs-ha/vrrp"
	"lvs-ha/vrrp/link"
)

// Options wire a speaker to its surroundings.
type Options struct {
	Addresses Addresses
	Log       *slog.Logger
	// Logged counts the log records of this process by level, for Status; nil
	// for those of the speaker alone.
	Logged func() map[string]uint64
	// OnTransition is called for each change of state, in order, from a
	// goroutine of its own; nil for none. Seq is 0: the link numbers.
	OnTransition func(link.Transition)
	// Journal is a file, in memory at best, that lets a speaker that was
	// started again at once go on as master; "" for none.
	Journal string
	// Renewed tells whether the addresses of an instance are on their links
	// with lifetimes that somebody has renewed not long ago; nil for never.
	// Without that nobody goes on as master.
	Renewed func(vrrp.Instance) bool
}
