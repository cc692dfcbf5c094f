// Package vrrptest is a segment of the network in virtual time, on which
// whole elections run in microseconds: for tests only.
//
//	script ─────▶ ops ─┐                        ┌─▶ transcript (golden files)
//	                   ▼                        │
//	seed ─▶ History ─▶ Segment ── packets ──▶ Node{vrrp.Machine, addresses}
//	                   ▲    │                   │
//	                   └────┘ heap of moments   └─▶ invariants ─▶ violation
//
// A Segment carries packets between the nodes of two to five hosts, really
// encoded and decoded: with loss, delay, duplication, reordering, partitions in
// one or both directions. A Node is one instance of a speaker: a machine, its
// timer with a little lateness, a worker that needs time to move addresses, a
// kernel that removes what nobody renews. A host has one to three of them, each
// on a lane (a network of its own), some of them in a sync group, whose
// decisions it carries out as a speaker does. A host can stall, crash, start
// again, lose its director; a node can lose its carrier or its addresses.
//
// Everything follows from a seed. The same seed gives the same history on every
// machine and with every version of Go, which is why the generator of random
// numbers is our own.
//
//	go test ./vrrp/vrrptest                           a slice of the histories
//	go test ./vrrp/vrrptest -lvsha.histories=1000000  more of them
//	go test ./vrrp/vrrptest -run Histories -lvsha.seed=42   one, with its transcript
//	make test-long                                    a million of them, first of all
//
// # What must hold (see check.go, holding.go, judge.go, clients.go, oracle.go)
//
//   - Convergence: after the last fault there is one master in each connected
//     part, and it is the right one, within three times the slowest interval,
//     one skew, and the configured delays; and it stays.
//   - No two masters that hear each other for longer than an interval or so.
//   - A backup never sends, bar its last word; priorities are the right ones.
//   - Nobody takes over before its down timer can have run out, nor later.
//   - Priority 0 hands over within the skew of the best backup, and on a clean
//     segment there is a holder of the addresses at every moment of it.
//   - A master that advertises holds its addresses. One that yields lets go of
//     them 20 ms after the winner's announcement or 200 ms after it yielded,
//     neither earlier nor later, and not before the winner has them. One that
//     releases has the same bounds once it hears the next master, and another
//     one until then. So nobody holds them beside a master that it hears for
//     more than 200 ms longer than two masters can be.
//   - All of a sync group on one host are master, or none is. It leads as soon
//     as all of it want to, and hands over when one of it has to; in the end a
//     host whose group is not master has a master on some lane that it has no
//     right to replace.
//   - The winner of two masters announces again, and so in the end everybody
//     believes the master who hears it and could know that they heard another.
//   - A rejected packet changes nothing.
//   - Nothing panics, and nothing spins.
package vrrptest
