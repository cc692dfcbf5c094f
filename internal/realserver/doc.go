// Package realserver prepares a machine that stands behind a director in
// direct routing or tunnel mode: it must take packets for the virtual address
// and yet never be heard of under that address.
//
//	Spec ──Plan (pure)──▶ []Step ──Apply──▶ kernel ──▶ undo []Step
//	                        │
//	                        └────Check──▶ []Finding (nothing changed)
//
// The order of a plan is its point. The ARP settings come first and the
// address last, because a machine that gets the address first answers ARP for
// it in between, and clients then talk past the director. Removal goes the
// other way round.
//
// Steps are values that say what shall be true, so they can be printed,
// checked and stored. Everything is done by netlink and by writing /proc/sys,
// in the network namespace of the calling thread: callers that switch
// namespaces lock their goroutine to its thread first.
package realserver
