package control

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"time"
)

// IPVSKind is what is to be done with the kernel's table.
type IPVSKind string

const (
	IPVSZero     IPVSKind = "zero"     // set counters to 0
	IPVSRestore  IPVSKind = "restore"  // make services as a file of rules has them
	IPVSTimeouts IPVSKind = "timeouts" // set the timeouts of connections
)

// IPVSChange is a change of the kernel's table that a person asks for: the
// body of POST /v1/ipvs/KIND.
type IPVSChange struct {
	Kind IPVSKind `json:"-"`
	// Service of a zero: a name, or what ipvsctl.ParseSelector reads; "" for all.
	Service string `json:"service,omitempty"`
	// Rules of a restore, as ipvsadm -Sn writes them.
	Rules string `json:"rules,omitempty"`
	// DryRun of a restore only tells what would be done.
	DryRun bool `json:"dry_run,omitempty"`
	// Timeouts, seconds; 0 leaves one alone.
	TCP    uint32 `json:"tcp,omitempty"`
	TCPFin uint32 `json:"tcpfin,omitempty"`
	UDP    uint32 `json:"udp,omitempty"`
	// Namespace is the network namespace that the caller means (NetworkNamespace).
	Namespace string `json:"network_namespace,omitempty"`
}

// IPVSResult tells what was done, in sentences for people.
type IPVSResult struct {
	Schema string `json:"schema"`
	// Changes made, or with a dry run those that would be.
	Changes []string `json:"changes"`
	// Failed are those that the kernel refused.
	Failed []string `json:"failed"`
	// Alone are services that the change does not touch.
	Alone int `json:"services_left_alone"`
}

const (
	ipvsBodyLimit = 64 << 20 // rules of some 500 000 servers
	ipvsReadLimit = 60 * time.Second
)

// NetworkNamespace names the one of this process, "" where /proc does not tell.
// A socket in the file system can be reached from any.
func NetworkNamespace() string {
	ns, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return ""
	}
	return ns
}

// ipvs answers POST /v1/ipvs/{kind}.
func (s *Server) ipvs(w http.ResponseWriter, r *http.Request) {
	q := IPVSChange{Kind: IPVSKind(r.PathValue("kind"))}
	switch {
	case q.Kind != IPVSZero && q.Kind != IPVSRestore && q.Kind != IPVSTimeouts:
		s.fail(w, &Error{Code: CodeUsage, Message: "this agent (" + s.o.Version + ") does not know the request", Hint: "is the command of another version?"})
		return
	case s.o.IPVS == nil:
		s.fail(w, &Error{Code: CodeUsage, Message: "this agent cannot do that"})
		return
	}
	s.longer(w, ipvsReadLimit)
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, ipvsBodyLimit))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		s.fail(w, &Error{Code: CodeUsage, Message: "the request cannot be read: " + err.Error()})
		return
	}
	if ns := NetworkNamespace(); q.Namespace != "" && ns != "" && q.Namespace != ns {
		s.fail(w, &Error{Code: CodeRefused, Message: "the agent that answers runs in another network namespace", Hint: "name the socket of this one's agent with --runtime-dir"})
		return
	}
	s.longer(w, 0)
	ctx, cancel := context.WithTimeout(r.Context(), changeLimit)
	defer cancel()
	result, err := s.o.IPVS(ctx, q)
	if err != nil {
		s.fail(w, classify(err, CodeRefused))
		return
	}
	result.Schema = Schema
	s.reply(w, http.StatusOK, result)
}

// longer gives the caller so long to send the rest, 0 for ever.
func (s *Server) longer(w http.ResponseWriter, limit time.Duration) {
	var end time.Time
	if limit > 0 {
		end = time.Now().Add(limit)
	}
	if err := http.NewResponseController(w).SetReadDeadline(end); err != nil {
		s.o.Log.Debug("control: read deadline", "err", err)
	}
}

// IPVS makes the agent change the kernel's table.
func (c *Client) IPVS(ctx context.Context, q IPVSChange) (IPVSResult, error) {
	q.Namespace = NetworkNamespace()
	body, err := json.Marshal(q)
	if err != nil {
		return IPVSResult{}, err
	}
	raw, err := c.do(ctx, http.MethodPost, "/v1/ipvs/"+string(q.Kind), body)
	if err != nil {
		return IPVSResult{}, err
	}
	var r IPVSResult
	if err := json.Unmarshal(raw, &r); err != nil {
		return IPVSResult{}, &Error{Code: CodeInternal, Message: "the answer of the agent cannot be read: " + err.Error()}
	}
	return r, nil
}
