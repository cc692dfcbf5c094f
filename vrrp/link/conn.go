package link

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// MaxFrame is the largest message in octets. 255 instances with 255 addresses
// each stay below it.
const MaxFrame = 16 << 20

// ErrTooLarge is returned for a frame above MaxFrame.
var ErrTooLarge = errors.New("message is larger than the link allows")

// Conn frames messages over a stream.
type Conn struct {
	c net.Conn

	send sync.Mutex
	out  []byte

	// Receiving belongs to one goroutine.
	head [4]byte
	in   []byte
}

// NewConn frames messages over c, which it owns from now on.
func NewConn(c net.Conn) *Conn { return &Conn{c: c} }

// Send writes one message. It is safe for many goroutines; it blocks while
// the other end does not read, until Close.
func (c *Conn) Send(m any) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("send %d octets: %w", len(body), ErrTooLarge)
	}
	c.send.Lock()
	defer c.send.Unlock()
	c.out = binary.BigEndian.AppendUint32(c.out[:0], uint32(len(body)))
	c.out = append(c.out, body...)
	_, err = c.c.Write(c.out)
	if cap(c.out) > 1<<20 {
		c.out = nil
	}
	return err
}

// Receive reads one message into m. At the end of the stream between two
// messages the error is io.EOF. It is for one goroutine at a time.
func (c *Conn) Receive(m any) error {
	if _, err := io.ReadFull(c.c, c.head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("read a message: %w", err)
		}
		return err
	}
	n := binary.BigEndian.Uint32(c.head[:])
	if n > MaxFrame {
		return fmt.Errorf("receive %d octets: %w", n, ErrTooLarge)
	}
	if err := c.fill(int(n)); err != nil {
		return fmt.Errorf("read a message: %w", err)
	}
	err := json.Unmarshal(c.in, m)
	if cap(c.in) > 1<<20 {
		c.in = nil
	}
	if err != nil {
		return fmt.Errorf("decode a message: %w", err)
	}
	return nil
}

// fill reads n octets. It grows with what really arrives: a length alone must
// not make us allocate.
func (c *Conn) fill(n int) error {
	const step = 64 << 10
	c.in = c.in[:0]
	for len(c.in) < n {
		have := len(c.in)
		want := min(n-have, max(step, have))
		if cap(c.in) < have+want {
			grown := make([]byte, have, have+want)
			copy(grown, c.in)
			c.in = grown
		}
		c.in = c.in[:have+want]
		if _, err := io.ReadFull(c.c, c.in[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// Close ends the connection and everything that waits on it.
func (c *Conn) Close() error { return c.c.Close() }

// ReceiveDown reads a message of the director and checks its shape.
func (c *Conn) ReceiveDown() (Down, error) {
	var m Down
	if err := c.Receive(&m); err != nil {
		return Down{}, err
	}
	n := count(m.Configure != nil, m.Posture != nil, m.Status != nil, m.Notify != nil,
		m.Stopped != nil, m.Failover != nil, m.Taken != nil)
	if n != 1 {
		return Down{}, fmt.Errorf("message %d of the director has %d contents, not one", m.ID, n)
	}
	return m, nil
}

// ReceiveUp reads a message of the speaker and checks its shape.
func (c *Conn) ReceiveUp() (Up, error) {
	var m Up
	if err := c.Receive(&m); err != nil {
		return Up{}, err
	}
	n := count(m.Transition != nil, m.Status != nil, m.Reload != nil, m.Stop != nil)
	if n > 1 || (n == 0 && m.ID == 0) {
		return Up{}, fmt.Errorf("message %d of the speaker has %d contents, not one", m.ID, n)
	}
	return m, nil
}

func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}
