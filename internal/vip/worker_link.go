package vip

import (
	"errors"
	"net/netip"
	"slices"
)

// What becomes of links while they are watched: other hardware addresses,
// carriers that come back, other names, addresses of somebody else.

// misleads tells whether neighbours beyond a link may know something that is not
// so any more: it was away for a while, or has another hardware address.
func misleads(before, now *Interface) bool {
	return now.Up && (!before.Up || !slices.Equal(before.HardwareAddr, now.HardwareAddr))
}

// misled tells, once, whether that was so of a link of ours.
func (w *worker) misled() bool {
	misled := false
	for _, x := range w.watched {
		misled = x.misled.Swap(false) || misled
	}
	return misled
}

// strayed takes an address off the link where we put it, which has another name
// by now: it would be answered for there until its lifetime ends.
func (w *worker) strayed(k key, index int) {
	h := w.have[k]
	if h.index == 0 || h.index == index || h.since.IsZero() || h.foreign {
		return
	}
	list, err := w.list(h.index)
	if err != nil {
		return
	}
	if a, ok := find(list, k.prefix); !ok || a.Permanent {
		return
	}
	if err := w.h.k.Delete(h.index, k.prefix); err == nil || errors.Is(err, ErrNotThere) {
		w.h.log.Warn("an interface with one of our addresses got another name; taken off there", "event", "address_strayed",
			"address", k.prefix.String(), "interface", k.iface)
		h.index = 0
	}
}

// findForeign lists the addresses that are on their links for ever, also with
// another prefix length: whatever we do they stay, and are answered for.
func (w *worker) findForeign() []netip.Prefix {
	var out []netip.Prefix
	for _, k := range w.order {
		h := w.have[k]
		foreign := h.foreign
		if x := w.watched[k.iface]; x != nil && !foreign {
			if in := x.latest.Load(); in != nil {
				foreign = slices.ContainsFunc(in.Addresses, func(a InterfaceAddress) bool {
					return a.Permanent && a.Prefix.Addr() == k.prefix.Addr() && (a.Prefix != k.prefix || !h.present)
				})
			}
		}
		if foreign {
			out = append(out, k.prefix)
		}
	}
	return out
}

// heard is where claims are listened for: on a link that was made anew, or has
// another hardware address, they have to be listened for anew.
type heard struct {
	key
	index int
	mac   string
}

func (w *worker) heard() []heard {
	out := make([]heard, len(w.live))
	for i, k := range w.live {
		out[i].key = k
		if x := w.watched[k.iface]; x != nil {
			if in := x.latest.Load(); in != nil {
				out[i].index, out[i].mac = in.Index, string(in.HardwareAddr)
			}
		}
	}
	return out
}
