package vrrp

// State of an instance (RFC 9568 section 6.4; Releasing and Fault are ours).
type State uint8

const (
	// Init: not taking part yet (start delay, no link, no source address).
	Init State = iota
	// Backup: listens, holds nothing.
	Backup
	// Master: advertises and holds the addresses.
	Master
	// Releasing: has sent priority 0 and holds the addresses until the next master is there.
	Releasing
	// Fault: something tracked without a delta is bad; holds nothing and does not take part.
	Fault
)

var stateNames = [...]string{"init", "backup", "master", "releasing", "fault"}

// States lists all states, in order.
var States = []State{Init, Backup, Master, Releasing, Fault}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}
