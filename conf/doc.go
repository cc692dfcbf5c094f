// Package conf turns a TOML file into an immutable [Config], or into a list of
// everything that is wrong with it.
//
//	file ──┐  BurntSushi/toml   map[string]any   view          builder
//	       ├────────▶ source ──────▶ layer ──────▶ keys ──────▶ Config of one node
//	includes                          │            of all        │
//	                              structure       layers         │
//	                          (unknown keys, names)              │
//	                                  └──────▶ findings ◀────────┘
//	                                              │ paths, e.g. service[2].servers[0].port
//	                       text ──▶ scanner ──────┤
//	                               (position.go)  ▼
//	                                           Problems, file:line:column
//
// A layer is one table of the text. A view lays tables over one another and
// answers with the value that counts, which is how all inheritance works:
//
//	[defaults] → [pool.X] → [[service]] → server
//	[defaults.check] → [check.X] or [[service.check]]
//	[vrrp.X] → [nodes.N.vrrp.X], and so http, sync, ipvs, log, process
//
// Tables are merged key by key, everything else is replaced.
//
// Nothing stops at the first problem. A reader that meets a bad value notes a
// finding with the value's path and goes on with the default. Positions are
// looked up at the end, and only if there is something to report: the scanner
// walks the text once for the paths that are wanted.
//
// Long lists of plain inline tables (rows.go) are read without the decoder,
// and servers in them without a table for each (server_rows.go, servers.go):
// 5000 take a sixth of the time and of the memory. What is not plain goes the
// way above, which alone has words for what is wrong; fuzzing holds them together.
//
// The only file access is reading the named file and its includes.
package conf
