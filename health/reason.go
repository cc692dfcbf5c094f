package health

// Reason classes a failed probe. The set is closed: safe as a metric label.
type Reason string

const (
	ReasonTimeout     Reason = "timeout"
	ReasonRefused     Reason = "refused"
	ReasonReset       Reason = "reset"
	ReasonUnreachable Reason = "unreachable"
	ReasonStatus      Reason = "status"
	ReasonBody        Reason = "body"
	ReasonProtocol    Reason = "protocol"
	ReasonTLS         Reason = "tls"
	ReasonExec        Reason = "exec"
	// ReasonInternal is trouble of this machine (no descriptor, no buffer, no
	// local port, no route from here, a late scheduler). It never counts
	// against a server.
	ReasonInternal Reason = "internal"
)

// Reasons lists all, in a fixed order.
var Reasons = []Reason{ReasonTimeout, ReasonRefused, ReasonReset, ReasonUnreachable, ReasonStatus,
	ReasonBody, ReasonProtocol, ReasonTLS, ReasonExec, ReasonInternal}

// Hard tells that nobody listens there: the machine said so itself, or the way
// to it. The other reasons may be a wrong check or a moment of load.
func (r Reason) Hard() bool {
	return r == ReasonRefused || r == ReasonReset || r == ReasonUnreachable
}

// Failure is the error of a failed probe. Reason is for machines, Detail for people.
type Failure struct {
	Reason Reason
	Detail string
}

func (f *Failure) Error() string { return string(f.Reason) + ": " + f.Detail }

const numReasons = 10

// index of r in Reasons; a reason outside the set counts as internal.
func (r Reason) index() int {
	for i, x := range Reasons {
		if x == r {
			return i
		}
	}
	return numReasons - 1
}
