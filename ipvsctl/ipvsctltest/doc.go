// Package ipvsctltest helps to test what writes IPVS tables: a kernel in
// memory that is as strict as the real one, and the suite that holds both to
// the same behaviour.
//
//	       Conformance(t, new)
//	      ┌────────┴────────┐
//	      ▼                 ▼
//	Fake (memory)     ipvsctl.Open (netlink)
//
// It is imported by tests only.
package ipvsctltest
