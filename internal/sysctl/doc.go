// Package sysctl reads and writes the kernel's settings in /proc/sys.
//
//	"net.ipv4.vs.conntrack" ─┐
//	                         ├─> /proc/sys/net/ipv4/... ─> value
//	"net/ipv4/conf/eth0.7/…" ┘
package sysctl
