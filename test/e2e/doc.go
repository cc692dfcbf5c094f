// Package e2e holds the scenarios of the whole program: the real binary, two
// directors, real servers and a client in network namespaces, and the kernel's
// own IPVS. It has tests only.
//
//	internal/lab (network, servers, load, sniffer) ─▶ scenario ─▶ what the client,
//	                       the wire and the kernel's table say about the program
//
// The binary under test is named by the environment variable LVSHA_BIN. The
// witnesses share no code with it: /proc/net/ip_vs, ipvsadm, a packet socket,
// requests. Without privileges or kernel support tests skip with the reason;
// LVSHA_REQUIRE=netns,ipvs makes that a failure.
//
// TestChaos does what can happen to a pair in random order and compares each
// time with a model (the files chaos*_test.go): acts change lab and model
// alike, settle waits as long as the configuration's times allow and compares.
package e2e
