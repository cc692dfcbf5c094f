package vrrptest

import "lvs-ha/vrrp"

type momentKind uint8

const (
	atPacket   momentKind = iota // a packet arrives at node
	atWorker                     // the address worker of node is done
	atExpiry                     // the kernel of node removes what nobody renewed
	atOp                         // an op of the plan is due
	atRecheck                    // a promise has to be kept by now
	atReady                      // the director of node is ready
	atIface                      // the interface of node was looked at after a start
	atRenewals                   // the address worker of node could not renew for too long
)

// maxPacket holds three IPv6 addresses.
const maxPacket = 8 + 3*16

// moment is one thing that will happen.
type moment struct {
	at    vrrp.Time
	seq   uint32 // order among equals
	kind  momentKind
	node  uint8
	from  uint8
	size  uint8
	flaw  uint8
	group bool   // sent to the group
	gen   uint32 // of the node's process or worker, or index of op or promise
	data  [maxPacket]byte
}

// queue is a heap of moments. Their bodies stay where they are; the heap moves
// small keys.
type queue struct {
	heap []key
	body []moment
	free []uint32
	seq  uint32
}

type key struct {
	at   vrrp.Time
	seq  uint32
	slot uint32
}

func (k key) before(o key) bool { return k.at < o.at || k.at == o.at && k.seq < o.seq }

func (q *queue) reset() {
	q.heap, q.body, q.free, q.seq = q.heap[:0], q.body[:0], q.free[:0], 0
}

// add gives a cleared moment to fill in; its time must not change any more.
func (q *queue) add(at vrrp.Time, kind momentKind, node int) *moment {
	var slot uint32
	if n := len(q.free); n > 0 {
		slot = q.free[n-1]
		q.free = q.free[:n-1]
	} else {
		slot = uint32(len(q.body))
		q.body = append(q.body, moment{})
	}
	q.seq++
	m := &q.body[slot]
	m.at, m.seq, m.kind, m.node = at, q.seq, kind, uint8(node)
	h := append(q.heap, key{at, q.seq, slot})
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	q.heap = h
	return m
}

func (q *queue) first() (vrrp.Time, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// pop copies the first moment to m.
func (q *queue) pop(m *moment) {
	h := q.heap
	top := h[0]
	*m = q.body[top.slot]
	q.free = append(q.free, top.slot)
	n := len(h) - 1
	h[0] = h[n]
	h = h[:n]
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(h[i]) {
			break
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
	q.heap = h
}
