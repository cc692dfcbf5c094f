// Command benchtool is the measuring instrument of test/bench: load clients,
// real servers, table watchers and process meters for use in network
// namespaces of a guest.
//
//	client ns: load, conns ──▶ VIP ──▶ director ns: watch, count, proc ──▶ rs ns: serve
//	                            │
//	                     bridge: sniff (who advertises, how evenly)
//
// Each subcommand prints one line of JSON, or lines with a time in front, for
// the experiment scripts; "table" turns their figures into the report.
//
// Clients and servers drive epoll themselves on one thread: on an emulated CPU
// the runtime's poller would cost more than what is measured.
package main
