package vip

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// drop removes everything that is ours.
func (w *worker) drop(p *pass) {
	w.dropSurplus(p)
	for _, k := range w.order {
		w.remove(p, k)
	}
}

func (w *worker) dropSurplus(p *pass) {
	for k := range w.have {
		if !slices.Contains(w.order, k) && w.remove(p, k) {
			delete(w.have, k)
		}
	}
}

// remove takes one address away, unless it is somebody else's.
func (w *worker) remove(p *pass, k key) bool {
	h := w.have[k]
	in, err := w.link(k.iface)
	switch {
	case errors.Is(err, ErrAbsent):
		w.strayed(k, 0)
		h.present, h.foreign, h.since, h.renewAt = false, false, time.Time{}, time.Time{}
		return true
	case err != nil:
		p.fail(err)
		return false
	}
	if h.index != in.Index {
		w.strayed(k, in.Index)
		h.index, h.present, h.foreign = in.Index, false, false
	}
	if h.foreign {
		h.present, h.foreign = false, false
		return true
	}
	if !h.present {
		// Not put there by this run: an earlier one may have left it behind,
		// recognisable by its lifetime.
		list, err := w.list(in.Index)
		if err != nil {
			p.fail(fmt.Errorf("cannot list the addresses of %s: %w", k.iface, err))
			return false
		}
		if a, ok := find(list, k.prefix); !ok || a.Permanent {
			h.since, h.renewAt = time.Time{}, time.Time{}
			return true
		}
	}
	if err := w.h.k.Delete(in.Index, k.prefix); err != nil && !errors.Is(err, ErrNotThere) {
		p.fail(fmt.Errorf("cannot remove %s from %s: %w", k.prefix, k.iface, err))
		return false
	}
	h.present, h.since, h.renewAt = false, time.Time{}, time.Time{}
	return true
}
