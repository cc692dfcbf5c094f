// Package director decides: it turns the configuration, the verdicts of the
// probes and the roles of the VRRP instances into the goal for the kernel.
//
//	conf.Config ──NewTopology──▶ Topology ─┐
//	health.Change ──OnChange──────────────▶│ State ──Plan (pure)──▶ Desired
//	link.Transition ──OnTransition────────▶│                          │
//	                                       │            ┌─────────────┼─────────────┐
//	                                       ▼            ▼             ▼             ▼
//	                                   Snapshot     kernelWorker   Posture      log, counters
//	                                 (immutable)   (owns IPVS)   (readiness)
//
// One goroutine, Run, owns the state; everybody else posts to its mailbox. A
// second one owns the IPVS handle and follows the latest goal, so that a slow
// kernel never delays a decision. Plan knows neither clock nor kernel and is
// where rules about servers, services and the sync daemon live.
package director
