// Package speaker runs VRRP instances: sockets, timers and the one loop that
// feeds the pure machine of package vrrp and does what it says.
//
//	     Configure, SetPosture, Failover, Status, Stop        Addresses (links, holders)
//	                     │ letters                               │ letters
//	                     ▼                                       ▼
//	                 ┌──────────────────── mailbox (eventfd) ──────────┐
//	sockets ─epoll──▶│ loop, on a thread of its own, real time         │──▶ Holder orders (never block)
//	timerfd ────────▶│   1. drain the sockets   vrrp.Machine.Step      │──▶ sendmsg (never blocks)
//	                 │   2. letters             one for each instance  │──▶ transitions ─▶ a goroutine ─▶ OnTransition
//	                 │   3. timers that are due                        │──▶ log records ─▶ a goroutine ─▶ slog
//	                 └─────────────────────────────────────────────────┘
//
// Sockets are read before timers are looked at: after a stall the queued
// advertisements are heard before anybody concludes that the master is dead.
//
// The loop waits for nothing but epoll. Whatever could block has a goroutine:
// opening sockets (keeper), addresses and announcements (Holder.Run), the log
// (asyncHandler), the receivers of transitions (outbox). What they share with
// the loop is lock-free or a channel with room. An advertisement sent or
// received allocates nothing.
package speaker
