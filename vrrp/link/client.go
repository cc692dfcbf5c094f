package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// ErrClosed is returned by calls of a client whose connection has ended.
var ErrClosed = errors.New("the connection to the speaker has ended")

// stoppedPatience bounds how long Stopped waits for its confirmation.
const stoppedPatience = time.Second

// ClientOptions are the director's ears. The callbacks are called one at a
// time, in the order of arrival, from a goroutine of their own: they may call
// the client's methods.
type ClientOptions struct {
	// OnTransition is called for each transition; when it returns the
	// transition counts as taken and is not sent to a later director.
	OnTransition func(Transition)
	OnReload     func()
	OnStop       func()
}

// Client is the director's end of the link.
type Client struct {
	conn *Conn
	o    ClientOptions
	done chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	nextID  uint64
	waiting map[uint64]chan Up
	events  []Up
	posture *Posture // latest, to be sent
	notify  *Notify
	taken   uint64 // latest, to be confirmed
	told    uint64 // confirmed

	out    chan outgoing
	cells  chan struct{} // token: posture, notify or taken changed
	queued chan struct{} // token: events is not empty
}

type outgoing struct {
	m    Down
	sent chan error
}

// NewClient makes the director's end over c; it starts nothing.
func NewClient(c net.Conn, o ClientOptions) *Client {
	return &Client{
		conn: NewConn(c), o: o, done: make(chan struct{}), waiting: map[uint64]chan Up{},
		out: make(chan outgoing), cells: make(chan struct{}, 1), queued: make(chan struct{}, 1),
	}
}

// Run talks to the speaker until ctx ends or the speaker goes: then the error
// is nil or ErrClosed. It closes the connection. Call it once.
func (c *Client) Run(ctx context.Context) error {
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(runCtx, func() { c.conn.Close() })
	defer unhook()
	var wg sync.WaitGroup
	wg.Go(func() { c.write(runCtx); cancel() })
	wg.Go(func() { c.dispatch(runCtx) })
	err := c.read()
	cancel()
	c.conn.Close()
	close(c.done)
	wg.Wait()
	switch {
	case ctx.Err() != nil:
		return nil
	case isClosed(err):
		return ErrClosed
	}
	return fmt.Errorf("from the speaker: %w", err)
}

func (c *Client) read() error {
	for {
		m, err := c.conn.ReceiveUp()
		if err != nil {
			return err
		}
		c.mu.Lock()
		if m.ID != 0 {
			if w := c.waiting[m.ID]; w != nil {
				delete(c.waiting, m.ID)
				w <- m // has room for one
			}
		} else {
			c.events = append(c.events, m)
			token(c.queued)
		}
		c.mu.Unlock()
	}
}

// write owns the sending side.
func (c *Client) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-c.out:
			err := c.conn.Send(o.m)
			o.sent <- err
			if err != nil && !errors.Is(err, ErrTooLarge) {
				return
			}
		case <-c.cells:
			c.mu.Lock()
			posture, notify, taken := c.posture, c.notify, c.taken
			c.posture, c.notify = nil, nil
			c.mu.Unlock()
			if posture != nil && c.conn.Send(Down{Posture: posture}) != nil {
				return
			}
			if notify != nil && c.conn.Send(Down{Notify: notify}) != nil {
				return
			}
			if taken > c.told {
				if c.conn.Send(Down{Taken: &taken}) != nil {
					return
				}
				c.told = taken
			}
		}
	}
}

// dispatch calls the callbacks.
func (c *Client) dispatch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.queued:
		}
		c.mu.Lock()
		events := c.events
		c.events = nil
		c.mu.Unlock()
		for _, m := range events {
			if ctx.Err() != nil {
				return
			}
			switch {
			case m.Transition != nil:
				if c.o.OnTransition != nil {
					c.o.OnTransition(*m.Transition)
				}
				c.mu.Lock()
				c.taken = m.Transition.Seq
				c.mu.Unlock()
				token(c.cells)
			case m.Reload != nil && c.o.OnReload != nil:
				c.o.OnReload()
			case m.Stop != nil && c.o.OnStop != nil:
				c.o.OnStop()
			}
		}
	}
}

func (c *Client) call(ctx context.Context, m Down) (Up, error) {
	answer := make(chan Up, 1)
	c.mu.Lock()
	c.nextID++
	m.ID = c.nextID
	c.waiting[m.ID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, m.ID)
		c.mu.Unlock()
	}()
	sent := make(chan error, 1)
	select {
	case c.out <- outgoing{m, sent}:
	case <-ctx.Done():
		return Up{}, ctx.Err()
	case <-c.done:
		return Up{}, ErrClosed
	}
	for {
		select {
		case err := <-sent:
			if errors.Is(err, ErrTooLarge) {
				return Up{}, err
			}
			if err != nil {
				return Up{}, ErrClosed
			}
			sent = nil
		case up := <-answer:
			if up.Error != "" {
				return Up{}, errText(up.Error)
			}
			return up, nil
		case <-ctx.Done():
			return Up{}, ctx.Err()
		case <-c.done:
			return Up{}, ErrClosed
		}
	}
}

// Configure replaces the set of instances; nil means that the speaker has
// accepted all of them. A refusal is complete for people.
func (c *Client) Configure(ctx context.Context, m Configure) error {
	_, err := c.call(ctx, Down{Configure: &m})
	return err
}

// Failover asks for an orderly release of one instance; a refusal says why.
func (c *Client) Failover(ctx context.Context, m Failover) error {
	_, err := c.call(ctx, Down{Failover: &m})
	return err
}

// Status of the speaker now.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	up, err := c.call(ctx, Down{Status: &struct{}{}})
	if err != nil {
		return nil, err
	}
	if up.Status == nil {
		return nil, errEmpty
	}
	return up.Status, nil
}

// SetPosture sends p; if an earlier one still waits, p replaces it. It does not block.
func (c *Client) SetPosture(p Posture) {
	c.mu.Lock()
	c.posture = &p
	c.mu.Unlock()
	token(c.cells)
}

// Notify sends n; if an earlier one still waits, n replaces it. It does not block.
func (c *Client) Notify(n Notify) {
	c.mu.Lock()
	c.notify = &n
	c.mu.Unlock()
	token(c.cells)
}

// Stopped says that the director has done all it had to do and exits now. It
// returns when the speaker has heard it, after one second at most.
func (c *Client) Stopped() {
	ctx, cancel := context.WithTimeout(context.Background(), stoppedPatience)
	defer cancel()
	_, _ = c.call(ctx, Down{Stopped: &struct{}{}})
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isClosed tells the end of a connection from a breach of its rules.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
