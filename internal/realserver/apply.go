package realserver

import (
	"fmt"
	"slices"
)

// Finding is one step of a plan held against the machine.
type Finding struct {
	Step Step
	OK   bool
	// Have is what the machine has instead, for people; empty if OK.
	Have string
}

// Check compares the machine with the plan and changes nothing.
func Check(s Spec) ([]Finding, error) {
	steps, err := Plan(s)
	if err != nil {
		return nil, err
	}
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	defer h.close()
	out := make([]Finding, len(steps))
	for i, st := range steps {
		f, err := h.look(st)
		if err != nil {
			return nil, fmt.Errorf("cannot check %s: %w", st, err)
		}
		out[i] = f
	}
	return out, nil
}

// Prepared tells whether every finding is good.
func Prepared(f []Finding) bool {
	return !slices.ContainsFunc(f, func(f Finding) bool { return !f.OK })
}

// Apply makes the steps true in their order, leaving alone what is true
// already. Undo, given to Apply, restores what was changed, also after an
// error half way.
func Apply(steps []Step) (undo []Step, err error) {
	h, err := openHost()
	if err != nil {
		return nil, err
	}
	defer h.close()
	for _, st := range steps {
		f, err := h.look(st)
		if err == nil && !f.OK {
			var back Step
			if back, err = h.do(st); err == nil {
				undo = append(undo, back)
			}
		}
		if err != nil {
			slices.Reverse(undo)
			return undo, fmt.Errorf("cannot make %s: %w", st, err)
		}
	}
	slices.Reverse(undo)
	return undo, nil
}

// Prepare makes the machine ready for what the spec says.
func Prepare(s Spec) (undo []Step, err error) {
	steps, err := Plan(s)
	if err != nil {
		return nil, err
	}
	return Apply(steps)
}

// Remove takes the spec's addresses away; the ARP settings go too unless the
// machine has other virtual addresses left.
func Remove(s Spec) error {
	v4, v6, err := s.families()
	if err != nil {
		return err
	}
	h, err := openHost()
	if err != nil {
		return err
	}
	others := false
	for _, f := range [...]struct {
		dev string
		has bool
	}{{s.device(false), len(v4) > 0}, {s.device(true), len(v6) > 0}} {
		if !f.has {
			continue
		}
		left, err := h.otherAddresses(f.dev, s.VIPs)
		if err != nil {
			h.close()
			return err
		}
		others = others || left
	}
	h.close()
	steps, err := RemovePlan(s, others)
	if err != nil {
		return err
	}
	_, err = Apply(steps)
	return err
}
