package director

import (
	"time"
)

// AdminMode is what a person wants of a server.
type AdminMode string

const (
	// AdminReady: what the checks say.
	AdminReady AdminMode = "ready"
	// AdminDrain: no new connections; those that are there go on.
	AdminDrain AdminMode = "drain"
	// AdminMaintenance: as drain, and the server is expected to be away: its
	// failures are nobody's concern, and no floor calls it back.
	AdminMaintenance AdminMode = "maintenance"
)

// AdminModes lists all, in a fixed order.
var AdminModes = []AdminMode{AdminReady, AdminDrain, AdminMaintenance}

// Order is one decision of a person, and who answers for it.
type Order struct {
	Owner  string
	Reason string
	Since  time.Time
	// Expires is when the order ends by itself; zero for never.
	Expires time.Time
	// Force: given although it ends a service or breaks a floor, so that no
	// floor holds it up.
	Force bool
}

// ends tells whether the order is over.
func (o *Order) ends(now time.Time) bool { return !o.Expires.IsZero() && !now.Before(o.Expires) }

// Admin is what people want of one server. Both parts may be there at once and
// end on their own.
type Admin struct {
	Mode   AdminMode // "" is AdminReady
	ModeBy Order
	// Weight in place of the configured one, 0..65535; nil for none.
	Weight   *uint32
	WeightBy Order
}

// isZero tells whether nothing is left of it.
func (a *Admin) isZero() bool { return a.aside() == "" && a.Weight == nil }

// aside is AdminDrain, AdminMaintenance or "".
func (a *Admin) aside() AdminMode {
	if a.Mode == AdminReady {
		return ""
	}
	return a.Mode
}

// now is a without what is over.
func (a Admin) now(now time.Time) Admin {
	if a.aside() != "" && a.ModeBy.ends(now) {
		a.Mode, a.ModeBy = "", Order{}
	}
	if a.Weight != nil && a.WeightBy.ends(now) {
		a.Weight, a.WeightBy = nil, Order{}
	}
	return a
}

// admin is what people want of a server now; it notes when that ends.
func (p *pool) admin(s *State, id ServerID) Admin {
	if len(s.Admin) == 0 {
		return Admin{}
	}
	a, ok := s.Admin[id]
	if !ok {
		return Admin{}
	}
	a = a.now(s.Now)
	if a.aside() != "" && !a.ModeBy.Expires.IsZero() {
		p.at(a.ModeBy.Expires)
	}
	if a.Weight != nil && !a.WeightBy.Expires.IsZero() {
		p.at(a.WeightBy.Expires)
	}
	return a
}

// why is a short sentence: what, who, until when, for what reason.
func (o *Order) why(what string) string {
	if o.Owner != "" {
		what += " by " + o.Owner
	}
	if !o.Expires.IsZero() {
		what += " until " + o.Expires.UTC().Format("2006-01-02 15:04:05 MST")
	}
	if o.Reason != "" {
		what += ": " + o.Reason
	}
	return what
}

func (m AdminMode) done() string {
	switch m {
	case AdminDrain:
		return "drained"
	case AdminMaintenance:
		return "in maintenance"
	case AdminReady:
	}
	return string(m)
}

// Pause is a freeze of the kernel's table.
type Pause struct {
	On bool
	By Order
}

func (p Pause) now(now time.Time) Pause {
	if p.On && p.By.ends(now) {
		return Pause{}
	}
	return p
}
