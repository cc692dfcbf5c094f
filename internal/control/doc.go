// Package control is the unix socket over which the command line talks to the
// running agent.
//
//	lvs-ha status ─▶ Client ─┐
//	                         ├─▶ agent.sock ─▶ peer credentials ─▶ Server
//	lvs-ha reload ─▶ Client ─┘                                       │
//	                             GET  /v1/status   Snapshot ─▶ Document (JSON)
//	                             POST /v1/reload   a function of the director
//	                             POST /v1/failover a function of the speaker
//	                             POST /v1/ipvs/…   zero, restore, timeouts
//	                             POST /v1/admin    orders for servers, to the director
//
// The socket belongs to the agent that holds the lock beside it. A dead
// agent's socket is replaced, a living one's is never taken. Who may connect
// is up to the socket's mode (0660, group lvs-ha); who may change something is
// up to the credentials that the kernel tells of the peer.
package control
