// Package vip puts virtual addresses on links, keeps them there while they
// are wanted, takes them away, and tells the neighbours.
//
//	            Hold / Drop / Announce / Reconfigure (never block)
//	                            │ latest wanted state
//	                            ▼
//	┌──────── Monitor ───┐   Holder worker ──▶ kernel (netlink): add, renew, delete, read back
//	│ link, address      │──▶  │      │
//	│ events → full list │     │      └──▶ schedule (pure) ──▶ announcer: gratuitous ARP, unsolicited NA
//	└────────────────────┘     ▼
//	                        Report (held, waiting, dropped)
//
// A held address carries a lifetime that its holder renews each third of it:
// when the process dies, the kernel removes the address. What was on the link
// for ever before us is somebody else's: it gets no lifetime and stays.
//
// A Holder knows nothing of elections and has one worker. It follows the
// latest wanted state, so a quick sequence of Hold, Drop, Hold costs nothing,
// and whoever gives orders never waits for netlink.
package vip
