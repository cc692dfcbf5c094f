// Package vrrptest is a segment of the network in virtual time, on which
// whole elections run in microseconds: for tests only.
//
//	script ─────▶ ops ─┐                        ┌─▶ transcript (golden files)
//	                   ▼                        │
//	seed ─▶ History ─▶ Segment ── packets ──▶ Node{vrrp.Machine, addresses}
//	                   ▲    │                   │
//	                   └────┘ heap of moments   └─▶ invariants ─▶ violation
//
// A Segment carries packets between two to eight nodes, really encoded and
// decoded: with loss, delay, duplication, reordering, partitions in one or both
// directions. A Node is what a speaker is: a machine, its one timer with a
// little lateness, a worker that needs time to move addresses, a kernel that
// removes what nobody renews. It can stall, crash, start again, lose its
// carrier, lose its director.
//
// Everything follows from a seed. The same seed gives the same history on every
// machine and with every version of Go, which is why the generator of random
// numbers is our own.
//
//	go test ./vrrp/vrrptest                           a slice of the histories
//	go test ./vrrp/vrrptest -lvsha.histories=1000000  more of them
//	go test ./vrrp/vrrptest -lvsha.seed=42            one, with its transcript
//
// # What must hold (see check.go)
//
//   - Convergence: after the last fault there is one master in each connected
//     part, and it is the right one, within three times the slowest interval,
//     one skew, and the configured delays; and it stays.
//   - No two masters that hear each other for longer than an interval or so.
//   - A backup never sends, bar its last word; priorities are the right ones.
//   - Nobody takes over before its down timer can have run out, nor later.
//   - Priority 0 hands over within the skew of the best backup, and on a clean
//     segment there is a holder of the addresses at every moment of it.
//   - A master that advertises holds its addresses.
//   - The winner of two masters announces again.
//   - A rejected packet changes nothing.
//   - Nothing panics, and nothing spins.
package vrrptest
