package speaker

import (
	"context"
	"sync/atomic"

	"lvs-ha/vrrp/link"
)

// outbox carries transitions from the loop to whoever wants them, in order.
type outbox struct {
	head atomic.Pointer[parcel]
	wake chan struct{}
}

type parcel struct {
	next *parcel
	t    link.Transition
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

// put never blocks; one goroutine calls it.
func (o *outbox) put(t link.Transition) {
	p := &parcel{t: t}
	for {
		before := o.head.Load()
		p.next = before
		if o.head.CompareAndSwap(before, p) {
			break
		}
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run delivers until ctx ends, and then what is left.
func (o *outbox) run(ctx context.Context, deliver func(link.Transition)) {
	for {
		select {
		case <-ctx.Done():
			o.flush(deliver)
			return
		case <-o.wake:
			o.flush(deliver)
		}
	}
}

func (o *outbox) flush(deliver func(link.Transition)) {
	var in *parcel
	for p := o.head.Swap(nil); p != nil; {
		next := p.next
		p.next = in
		in, p = p, next
	}
	for ; in != nil; in = in.next {
		deliver(in.t)
	}
}
