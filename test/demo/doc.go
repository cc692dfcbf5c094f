// Command demo shows a pair of directors at work on a real kernel, in network
// namespaces of one machine: traffic, a dead server, a dead director, and the
// way back, each with what it cost, measured by a client.
//
//	lab.Up ─▶ servers, directors, client ─▶ story (acts) ─▶ figures ─▶ last screen
//	                                           │
//	                                       promises: exit status 1 if one is broken
//
// It needs root and a kernel with IPVS; test/vm/demo finds or boots one.
package main
