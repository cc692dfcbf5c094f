// Package command runs programs that the configuration names.
//
//	Command ──Run──▶ thread of its own ── fork ──▶ process group
//	                 (no ambient, no inheritable     │ output, cut
//	                  capability)                    ▼
//	            ctx ends: the whole group is killed  Result
//
// A program gets an environment of its own, the root directory, nothing as
// input, and none of the capabilities that let the agent change the network.
package command
