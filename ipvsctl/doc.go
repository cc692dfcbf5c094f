// Package ipvsctl makes the kernel's IPVS table what it shall be.
//
//	Goal ──────────────┐
//	                   ▼
//	Kernel.Dump ──▶ Diff (pure) ──▶ []Op ──▶ Kernel.Apply
//	     │             ▲                          │
//	     │        ┌────┴─────┐                    │
//	     └──────▶ │ believed │ ◀── what was done ─┘
//	      drift?  └──────────┘
//	              Reconciler
//
// The table is reconciled, not commanded: read first, never flush, edit in
// place, add before delete, delete only what is owned. A pass that has nothing
// to change writes nothing. Reconciler.Full reads the kernel and repairs what
// others changed, which it tells from our own changes by what it left there
// (Report.Drift). Quick and QuickServers write on that belief without reading:
// a verdict is one message to the kernel. A refusal that shows the belief to
// be wrong makes them a full pass.
//
// A pass goes in steps of about a hundred objects, or one service where that
// has more. What changes meanwhile (SetNews) is written between two of them: a
// server that fails does not wait until thousands are read or repaired.
//
// A dump of the kernel is a hint: taken while another program writes, it
// misses entries and repeats others, and nothing tells so (there is no
// generation counter in ip_vs_genl_dump_dests). What differs from the belief
// is read once more before it is repaired.
//
// # Two ways into the kernel
//
// No kind of object has two writers:
//
//	services, timeouts       github.com/moby/ipvs, one at a time, guarded (see moby)
//	servers, sync daemons    own generic netlink, 128 requests in one message
//	everything that is read  own generic netlink (timeouts: moby/ipvs)
//
// moby/ipvs cannot say the address family, tunnel type, port and flags of a
// server (and resets them with each edit), reads weights as 16 bits, counters
// as 32 bits, no persistence engine, and knows no sync daemon. It keeps the
// generic netlink number of IPVS for the life of the process; when the module
// is loaded anew under a running agent, the number is another one, and from
// then on services and timeouts, too, go through our own requests: the only
// case, and never both at once. Its first use runs modprobe ip_vs, without
// effect here, because asking for the family has made the kernel load it.
//
// On a kernel without IPVS Open returns ErrNoIPVS, and so does every later
// call if the module goes away. Answers that are lost are ErrTransport: the
// socket is given up, the next call opens another, and the reconciler reads
// everything again before it writes.
//
// # What the kernel cannot do
//
// A sync daemon cannot be edited: it is stopped and started. It excludes
// servers of another address family than their service. While the scheduler of
// a service is exchanged the kernel has none for about one RCU grace period
// (ip_vs_edit_service), and refuses new connections for that long; connections
// that exist are not touched.
package ipvsctl
