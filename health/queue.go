package health

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// slots bounds how many probes of a costly kind work at a time. Time spent
// waiting for one is this machine's, not the server's.
type slots chan struct{}

// cpuSlots are for the arithmetic of TLS. One processor is left to everything
// else where there are several.
var cpuSlots = sync.OnceValue(func() slots { return make(slots, max(1, runtime.GOMAXPROCS(0)-1)) })

func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	q, _ := ctx.Value(queueKey{}).(*queueing)
	q.begin()
	defer q.end()
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) give() { <-s }

// queueing is how long a probe has waited for slots.
type queueing struct {
	since atomic.Int64 // of the present wait, in nanoseconds since epoch; 0: does not wait
	sum   atomic.Int64
}

type queueKey struct{}

var epoch = time.Now()

func (q *queueing) begin() {
	if q != nil {
		q.since.Store(int64(time.Since(epoch)))
	}
}

func (q *queueing) end() {
	if q != nil {
		q.sum.Add(int64(time.Since(epoch)) - q.since.Swap(0))
	}
}

func (q *queueing) waited() time.Duration {
	d := q.sum.Load()
	if t := q.since.Load(); t != 0 {
		d += int64(time.Since(epoch)) - t
	}
	return time.Duration(d)
}

// slotConn gives its slot away while it waits for the network: a server that
// hangs holds up no other probe.
type slotConn struct {
	net.Conn
	ctx   context.Context
	slots slots
	held  bool
}

func (c *slotConn) take() error {
	if c.held {
		return nil
	}
	err := c.slots.take(c.ctx)
	c.held = err == nil
	return err
}

func (c *slotConn) give() {
	if c.held {
		c.held = false
		c.slots.give()
	}
}

func (c *slotConn) Read(p []byte) (int, error) {
	if !c.held {
		return c.Conn.Read(p)
	}
	c.give()
	n, err := c.Conn.Read(p)
	if e := c.take(); e != nil && err == nil {
		err = e
	}
	return n, err
}
