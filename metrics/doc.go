// Package metrics shows the director's snapshot to Prometheus and to whoever
// asks by HTTP.
//
//	GET /metrics ─▶ one Refresh (2 s at most) ─▶ Snapshot ─▶ families ─▶ text
//	GET /healthz    the process answers
//	GET /readyz     configuration applied, kernel readable, speaker heard
//	GET /role/NAME  200 while MASTER: for load balancers and routers
//
// Nothing is counted here. Each family (families_*.go) is a row of a table:
// name, help, labels and a pure function from a snapshot to samples, computed
// at the scrape. The one exception is totals.go, which keeps sums over servers
// monotonic when a server leaves the configuration.
package metrics
