// Package lab builds the smallest network in which a pair of directors makes
// sense, in network namespaces of one machine, and measures what happens in
// it. The demo and the end-to-end tests stand on it.
//
//	         client 10.0.0.10-.19
//	            │
//	════════════╪═════════ front 10.0.0.0/24 ════ VIP .100 ════
//	    │               │              │       │       │
//	 lvs1 .1         lvs2 .2        web1 .21 web2 .22 web3 .23    (dr, tun)
//	    │               │
//	════╪═══════════════╪═ back 10.0.1.0/24 ═════ gateway .100 ═   (nat)
//	                                   │       │       │
//	                                web1 .21 web2 .22 web3 .23
//
// Every machine is a namespace, and so is the switch: nothing touches the
// machine's own network. The set-up uses netlink and /proc/sys alone and the
// real servers are prepared by internal/realserver. Programs under test run as
// child processes of a machine's namespace and die with this process.
//
// A program that uses Lab calls Main first thing, because the real servers are
// this same program, started again: killing one is then what it is elsewhere.
//
// Waiting means polling a condition until a deadline ([Until]), never a sleep.
package lab
