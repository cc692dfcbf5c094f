package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"time"

	"lvs-ha/internal/director"
)

const (
	adminLimit = 64 << 10 // octets of a request
	maxTargets = 1000
)

// AdminRequest is the body of POST /v1/admin.
type AdminRequest struct {
	Action  string   `json:"action"`  // drain, maintenance, ready, weight, pause, resume
	Targets []string `json:"targets"` // service or service/server, or globs of these
	Weight  *uint32  `json:"weight"`  // with weight; null: the configured one again
	For     float64  `json:"for"`     // seconds; 0: no end
	Owner   string   `json:"owner"`   // taken from root only; others are who they are
	Reason  string   `json:"reason"`
	Force   bool     `json:"force"`
	DryRun  bool     `json:"dry_run"`
}

// AdminDocument answers it.
type AdminDocument struct {
	Schema     string         `json:"schema"`
	Done       bool           `json:"done"` // false for a dry run
	Servers    []AdminServer  `json:"servers"`
	Services   []AdminService `json:"services"`   // that the servers belong to
	Paused     *Order         `json:"paused"`     // null if not, after the request
	Objections []string       `json:"objections"` // what is harmed, done with force
	Unsaved    string         `json:"unsaved"`    // why it will not outlive the agent; "" if it will
}

// AdminServer is one server that the request named.
type AdminServer struct {
	Service      string `json:"service"`
	Server       string `json:"server"`
	Changed      bool   `json:"changed"`    // an order of it
	Configured   bool   `json:"configured"` // false: an order for a server that is gone
	StateBefore  string `json:"state_before"`
	StateAfter   string `json:"state_after"`
	WeightBefore uint32 `json:"weight_before"`
	WeightAfter  uint32 `json:"weight_after"`
	Why          string `json:"why"` // of the state after
	Admin        *Admin `json:"admin"`
}

// AdminService is what becomes of a service.
type AdminService struct {
	Service          string `json:"service"`
	QuorumWeight     uint32 `json:"quorum_weight"`
	ConfiguredWeight uint32 `json:"configured_weight"`
	HealthyBefore    uint32 `json:"healthy_weight_before"`
	HealthyAfter     uint32 `json:"healthy_weight_after"`
	UpBefore         bool   `json:"up_before"`
	UpAfter          bool   `json:"up_after"`
	SorryAfter       bool   `json:"sorry_active_after"`
	FloorWeight      uint32 `json:"floor_weight"`
}

// Admin is what people want of a server; null where they want nothing.
type Admin struct {
	Mode     string  `json:"mode"` // ready, drain, maintenance
	ModeBy   *Order  `json:"mode_by"`
	Weight   *uint32 `json:"weight"`
	WeightBy *Order  `json:"weight_by"`
}

// Order says who wants it, why, and how long.
type Order struct {
	Owner   string     `json:"owner"`
	Reason  string     `json:"reason"`
	Since   *time.Time `json:"since"`
	Expires *time.Time `json:"expires"`
	Force   bool       `json:"force"`
}

func newOrder(o director.Order) *Order {
	return &Order{Owner: o.Owner, Reason: o.Reason, Since: when(o.Since), Expires: when(o.Expires), Force: o.Force}
}

func newPause(p director.Pause) *Order {
	if !p.On {
		return nil
	}
	return newOrder(p.By)
}

func newAdmin(a *director.Admin) *Admin {
	if a == nil {
		return nil
	}
	out := &Admin{Mode: string(director.AdminReady), Weight: a.Weight}
	if a.Mode != "" && a.Mode != director.AdminReady {
		out.Mode, out.ModeBy = string(a.Mode), newOrder(a.ModeBy)
	}
	if a.Weight != nil {
		out.WeightBy = newOrder(a.WeightBy)
	}
	if out.ModeBy == nil && out.Weight == nil {
		return nil
	}
	return out
}

func newAdminDocument(r director.AdminResult, done bool) AdminDocument {
	d := AdminDocument{Schema: Schema, Done: done, Servers: []AdminServer{}, Services: []AdminService{}, Paused: newPause(r.Pause),
		Objections: append([]string{}, r.Objections...), Unsaved: r.Unsaved}
	for i := range r.Servers {
		x := &r.Servers[i]
		d.Servers = append(d.Servers, AdminServer{Service: x.ID.Service, Server: x.ID.Server, Changed: x.Changed(), Configured: x.Configured,
			StateBefore: string(x.StateBefore), StateAfter: string(x.StateAfter), WeightBefore: x.WeightBefore, WeightAfter: x.WeightAfter,
			Why: x.Why, Admin: newAdmin(&x.After)})
	}
	for i := range r.Services {
		x := &r.Services[i]
		d.Services = append(d.Services, AdminService{Service: x.Name, QuorumWeight: x.Quorum, ConfiguredWeight: x.ConfiguredWeight,
			HealthyBefore: x.HealthyBefore, HealthyAfter: x.HealthyAfter, UpBefore: x.UpBefore, UpAfter: x.UpAfter, SorryAfter: x.SorryAfter,
			FloorWeight: x.FloorWeight})
	}
	return d
}

// admin carries out an order.
func (s *Server) admin(w http.ResponseWriter, r *http.Request) {
	var q AdminRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, adminLimit))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		s.fail(w, &Error{Code: CodeUsage, Message: "the request cannot be read: " + err.Error()})
		return
	}
	if s.o.Admin == nil {
		s.fail(w, &Error{Code: CodeUsage, Message: "this agent cannot do that"})
		return
	}
	req, bad := q.check()
	if bad != nil {
		s.fail(w, bad)
		return
	}
	p, _ := r.Context().Value(peerKey{}).(peer)
	req.Owner = p.name(q.Owner)
	ctx, cancel := context.WithTimeout(r.Context(), changeLimit)
	defer cancel()
	res, err := s.o.Admin(ctx, req)
	var refused *director.RefusedError
	switch {
	case errors.As(err, &refused):
		s.fail(w, &Error{Code: CodeRefused, Message: strings.Join(refused.Objections, "; "), Hint: "--force does it all the same"})
	case errors.Is(err, director.ErrNoTarget), errors.Is(err, director.ErrAdminRequest):
		s.fail(w, &Error{Code: CodeUsage, Message: err.Error()})
	case err != nil:
		s.fail(w, classify(err, CodeInternal))
	default:
		s.reply(w, http.StatusOK, newAdminDocument(res, !q.DryRun))
	}
}

func (q *AdminRequest) check() (director.AdminRequest, *Error) {
	if !(q.For >= 0 && q.For <= director.LongestOrder.Seconds()) {
		return director.AdminRequest{}, &Error{Code: CodeUsage, Message: "an order lasts up to ten years; without a time it has no end"}
	}
	if len(q.Targets) > maxTargets {
		return director.AdminRequest{}, &Error{Code: CodeUsage, Message: "too many targets; a glob names many servers"}
	}
	return director.AdminRequest{Action: director.AdminAction(q.Action), Targets: q.Targets, Weight: q.Weight,
		For: time.Duration(q.For * float64(time.Second)), Reason: q.Reason, Force: q.Force, DryRun: q.DryRun}, nil
}

// name of the person at the other end. Root may have become root from somebody
// else, and is believed who.
func (p peer) name(said string) string {
	if p.uid == 0 {
		if said != "" {
			return said
		}
		return "root"
	}
	id := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// Admin asks for an order. It returns the document and the JSON it came as.
func (c *Client) Admin(ctx context.Context, q AdminRequest) (*AdminDocument, []byte, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	raw, err := c.do(ctx, http.MethodPost, "/v1/admin", body)
	if err != nil {
		return nil, nil, err
	}
	d := new(AdminDocument)
	if err := json.Unmarshal(raw, d); err != nil || d.Schema != Schema {
		return nil, nil, &Error{Code: CodeInternal, Message: "the answer of the agent cannot be read", Hint: "use the command of the agent's version"}
	}
	return d, raw, nil
}
