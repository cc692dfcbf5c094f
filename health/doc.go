// Package health probes real servers and decides whether they are up.
//
//	[]Spec ──Apply──▶ book (pure) ── due ──▶ driver ──▶ server
//	                   │  ▲                    │
//	       heap of one │  └──── result ────────┘
//	     instant each, │        (*Failure or nil)
//	 phase, verdict,   │
//	          counters └──▶ Change ──▶ Options.OnChange
//
// One goroutine runs the loop of [Scheduler.Run]: it takes results from the
// driver, lets the book judge them, starts what is due, and sleeps until the
// next instant. The book (book.go, schedule.go, verdict.go) takes instants and
// results and returns values; it knows no socket and no clock. The driver is
// the only thing that touches the machine. There are two: the engine
// (engine.go), which runs tcp, http and udp checks itself on epoll and raw
// sockets, and a plain one for tests under virtual time. Both hand checks of
// other types, which have a [Prober], to goroutines.
//
// The other types stand in a file each, probe_*.go: https and tls, dns, icmp,
// smtp, grpc, exec, file, agent. The arithmetic of TLS is done by one processor
// less than there are, programs run 64 at a time, and time spent waiting for
// that is this machine's.
//
// A server that passes may ask for something ([Advice]): a weight, a share of
// its weight, to be drained.
//
// Beside the probes the engine can hold an idle connection to a server
// (hold.go): its end makes the next probe due at once. The book also watches
// this machine (doubt.go): where probes start late or loopback fails, verdicts
// of down are held back for a while, but for those that are the server's own
// word.
//
// A failure is one of a closed set of reasons. Trouble of this machine is
// ReasonInternal and never counts against a server.
package health
