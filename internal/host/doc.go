// Package host is the director's side of the machine besides IPVS itself: the
// kernel settings that IPVS needs, our nftables table, connection tracking, and
// news of links, routes and neighbours.
//
//	configuration ──▶ Want ──────────▶ Keeper ── one goroutine
//	                   │                  │
//	      Sysctls ─────┼─▶ PlanSysctls ───┼──▶ /proc/sys         read, compare, write
//	      Rules ───────┴─▶ compile ───────┼──▶ nftables lvs_ha   what differs, nothing else
//	                                      │
//	removed servers ──▶ End ──────────────┴──▶ conntrack         their entries go
//
//	Hold ─────────────────────────────────▶ nftables lvs_ha_hold and a netfilter queue: new
//	                                        connections wait while their service has no scheduler
//
//	Stragglers ──▶ StragglerKeeper ───────▶ nftables lvs_ha_stragglers, and a routing rule: packets
//	                                        of connections that the other director knows
//
//	Claim ──▶ Claimants ──────────────────▶ neighbour tables: is it a real server that says so?
//
//	Watch ◀── rtnetlink: link, address family neighbour and route, resubscribed
//
// Deciding is pure ([PlanSysctls], the compiled table); the machine is a small
// interface. A pass reads before it writes, a second one writes nothing, and a
// slow one repairs what somebody changed.
//
// Everything works in the network namespace of the process.
package host
