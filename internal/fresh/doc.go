// Package fresh gets the newest snapshot of the director within a bound.
//
//	scrape ──┐
//	scrape ──┼─▶ Reader.Read ──▶ one Refresh at a time ──▶ director
//	status ──┘        │
//	                  └─ deadline passed: the latest snapshot there is
//
// A reader never waits longer than its limit, whatever the director does, and
// any number of readers cause one Refresh at a time.
package fresh
