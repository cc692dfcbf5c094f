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
// What is decided about one service depends on no other one. So an event has
// only the services decided on again that it concerns (Replan, with the same
// result as Plan), and of a service at rest only the server; the worker is told
// the servers that changed. A verdict costs its server, not its service, and
// not the table. What concerns everything, a reload or the first decision, goes
// through Plan.
//
// One goroutine, Run, owns the state; everybody else posts to its mailbox. A
// second one owns the IPVS handle and follows the latest goal, so that a slow
// kernel never delays a decision. Plan knows neither clock nor kernel and is
// where rules about servers, services and the sync daemon live.
package director
