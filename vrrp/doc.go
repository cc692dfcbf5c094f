// Package vrrp is the election: VRRP version 2 (RFC 3768) and 3 (RFC 9568) as
// pure values. It opens no socket, reads no clock, starts nothing.
//
//	packet ──▶ Advertisement.Parse ──▶ Config.Validate ──▶ EventAdvertisement
//	                  │ Reason               │ Reason              │
//	                  ▼                      ▼                     ▼
//	               counted                counted      Machine.Step(now, Event)
//	                                                     ▲         │
//	timer, interface, posture, addresses, commands ──────┘         ▼
//	                                                []Action: send, hold, drop,
//	                                                announce, transition, count
//
// An event loop owns one Machine for each instance. It drains its sockets,
// steps the machine, carries out the actions in their order, and arms its one
// timer with Deadline. What was rejected never reaches the machine, and so
// cannot touch a timer. Actions that take time (addresses) are done by others,
// and their outcome comes back as an event.
//
// # States
//
//	          start                 down timer
//	┌──────┐ ───────▶ ┌────────┐ ───────────────▶ ┌────────┐
//	│ Init │          │ Backup │                  │ Master │
//	└──────┘ ◀─────── └────────┘ ◀─────────────── └────────┘
//	   ▲     stop,      │    ▲    better             │ stop, failover,
//	   │     link       │    │    advertisement      │ fault, offer taken
//	   │                ▼    │                       ▼
//	┌───────┐  fault         │   next master    ┌───────────┐
//	│ Fault │ ◀──────────────┴────────────────── │ Releasing │
//	└───────┘                                    └───────────┘
//
// # Where this differs from RFC 9568
//
//   - Make before break. A master that stops in order sends priority 0 and
//     keeps the addresses (Releasing) until 200 ms after the new master's first
//     advertisement or 20 ms after its announcement; at most the longest skew
//     (one interval; v2 1 s) and 300 ms, at most 5 s. RFC 9568 section 6.4.3
//     gives them up at once, and for a skew time nobody has them. In a sync
//     group, when a sibling has lost its link, three intervals more: so long
//     the next group waits for it.
//   - Last word. A master that yields to a better one sends one last
//     advertisement, so that the winner of a healed split knows that there were
//     two, and announces again. It carries the winner's interval. A master that
//     gave up where nobody heard it, as the member of a sync group does on a
//     segment that is cut, says it as backup to the first master that it hears,
//     with a priority that loses. A backup never sends otherwise. One that
//     yields keeps the addresses until 20 ms after the winner's announcement,
//     200 ms at most: the winner advertises before it has them.
//   - Priority 0 shortens a backup's down timer to the skew and never
//     lengthens it.
//   - A preempt delay ends when it is over: the take-over does not wait for
//     another down timer (keepalived's does).
//   - Skew is computed in nanoseconds, not centiseconds.
//   - An owner (255) does not drop advertisements: of two owners the one with
//     the lower address yields.
//   - A master whose advertisement goes out late by more than a quarter of the
//     interval advertises twice as often for the next 16: the same wait for a
//     CPU leaves a shorter silence then.
//   - A losing advertisement is answered at once, but once in an interval;
//     priority 0 at once, but twice at most in the least skew that a backup can
//     have. Either tells of a second master: the addresses are announced again.
//   - An instance whose director is not ready has priority 1 and does not
//     preempt; a master whose director went away offers mastership: priority 0
//     while it holds the addresses, and on as master at priority 1 if nobody
//     takes them.
//   - In a sync group (see JoinGroup) a tie is decided on the segment of the
//     first member; on the others the loser waits for that, for the slowest
//     interval and 100 ms, before it yields.
//   - A master whose own interface goes down sends no priority 0: nobody would
//     hear it.
//   - Accept_Mode is always true: a load balancer accepts packets for its
//     addresses. Virtual MAC addresses are not used; announcements move the
//     addresses instead.
package vrrp
