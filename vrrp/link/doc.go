// Package link is the conversation between the two processes of the program:
// the messages, their framing, and both ends.
//
//	      director                                     speaker
//	┌──────────────────┐     unix socket pair     ┌──────────────────┐
//	│ Client           │  Down: Configure, …      │ Server           │
//	│  Configure ──────┼─────────────────────────▶│──▶ Speaker       │
//	│  SetPosture      │                          │                  │
//	│  Status          │  Up: Transition, …       │  Transition ◀────┼── in order
//	│  OnTransition ◀──┼──────────────────────────│◀── queue         │
//	└──────────────────┘                          └──────────────────┘
//
// A frame is four octets of length (big endian) and one JSON object. Neither
// end lets the other block it: what arrives is read at once, what is to be
// sent waits in a queue of bounded size or in a cell that holds the latest
// value. The speaker's loop never touches the connection; it hands transitions
// to Server.Transition, which numbers and keeps them until a director has
// confirmed them, so that none is lost while no director runs. The same way goes
// news of an instance that changes nothing: who is master, who claims an address.
package link
