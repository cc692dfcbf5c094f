package ipvsctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// receiveSize holds any datagram of the kernel: it fills at most 32 KiB in a
// dump (net/netlink/af_netlink.c, netlink_dump), more only for a reader with
// a larger buffer, so that a larger one would not be used.
const receiveSize = 64 << 10

// conn is a generic netlink socket on which one exchange takes place at a time.
type conn struct {
	c      *genetlink.Conn
	raw    syscall.RawConn
	family uint16
	seq    uint32
	in     []byte
	out    encoder
	// Limits of the exchanges under way, set by until.
	ctx     context.Context
	timeout time.Duration
}

// dial opens a socket in a network namespace (a path; "" is the thread's own)
// and finds the family there. Asking for it makes the kernel load ip_vs.
func dial(netns string, timeout time.Duration) (*conn, error) {
	var cfg netlink.Config
	if netns != "" {
		f, err := os.Open(netns)
		if err != nil {
			return nil, fmt.Errorf("cannot open network namespace: %w", err)
		}
		defer f.Close()
		cfg.NetNS = int(f.Fd())
	}
	g, err := genetlink.Dial(&cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot open generic netlink: %w", err)
	}
	c := &conn{c: g, in: make([]byte, receiveSize), seq: uint32(time.Now().UnixNano())}
	if err := c.setup(timeout); err != nil {
		g.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) setup(timeout time.Duration) error {
	// A failed request is answered without its text: answers to a whole batch
	// fit into the receive buffer.
	if err := c.c.SetOption(netlink.CapAcknowledge, true); err != nil {
		return fmt.Errorf("cannot set up generic netlink: %w", err)
	}
	var err error
	if c.raw, err = c.c.SyscallConn(); err != nil {
		return fmt.Errorf("cannot set up generic netlink: %w", err)
	}
	if err := c.c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("cannot set up generic netlink: %w", err)
	}
	c.family, err = c.resolve()
	return err
}

// resolve asks for the number of the family. It changes when ip_vs is loaded again.
func (c *conn) resolve() (uint16, error) {
	f, err := c.c.GetFamily(genlName)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, ErrNoIPVS
	case err != nil:
		return 0, fmt.Errorf("%w to the question for the family %s: %w", ErrTransport, genlName, err)
	}
	return f.ID, nil
}

func (c *conn) Close() error { return c.c.Close() }

// until bounds the following exchanges: each by the time, all by the context.
// The function that it returns ends that.
func (c *conn) until(ctx context.Context, timeout time.Duration) (func(), error) {
	c.ctx, c.timeout = ctx, timeout
	if err := c.arm(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.c.SetDeadline(time.Unix(1, 0))
		close(done)
	})
	return func() {
		if !stop() {
			<-done // so that it does not strike the next exchange
		}
	}, nil
}

// arm sets the deadline of one exchange.
func (c *conn) arm() error {
	at := time.Now().Add(c.timeout)
	if d, ok := c.ctx.Deadline(); ok && d.Before(at) {
		at = d
	}
	if err := c.c.SetDeadline(at); err != nil {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	// Last: what ends the context after this sets the deadline itself.
	return c.ctx.Err()
}

func (c *conn) send(b []byte) error {
	var n int
	var errno error
	err := c.raw.Write(func(fd uintptr) bool {
		for {
			n, errno = unix.SendmsgN(int(fd), b, nil, kernelAddr, 0)
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = errno
	}
	if err == nil && n != len(b) {
		err = fmt.Errorf("%d of %d octets sent", n, len(b))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	return nil
}

var kernelAddr = &unix.SockaddrNetlink{Family: unix.AF_NETLINK}

// receive gives one datagram of the kernel. It is good until the next call.
func (c *conn) receive() ([]byte, error) {
	for {
		var n, flags int
		var from unix.Sockaddr
		var errno error
		err := c.raw.Read(func(fd uintptr) bool {
			for {
				n, _, flags, from, errno = unix.Recvmsg(int(fd), c.in, nil, 0)
				if errno != unix.EINTR {
					return errno != unix.EAGAIN
				}
			}
		})
		if err == nil {
			err = errno
		}
		if err == nil && flags&unix.MSG_TRUNC != 0 {
			err = fmt.Errorf("a datagram is longer than %d octets", len(c.in))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTransport, err)
		}
		if a, ok := from.(*unix.SockaddrNetlink); ok && a.Pid == 0 {
			return c.in[:n], nil
		}
		// Another process speaks to us; the kernel's number is 0.
	}
}

// dump asks for a list and calls each for the body of every message. An errno
// is the kernel's answer; any other error leaves the socket unusable.
func (c *conn) dump(cmd uint8, build func(*encoder), each func(body []byte) error) error {
	return c.ask(cmd, unix.NLM_F_DUMP, build, each)
}

// get asks for one thing.
func (c *conn) get(cmd uint8, build func(*encoder), each func(body []byte) error) error {
	return c.ask(cmd, unix.NLM_F_ACK, build, each)
}

func (c *conn) ask(cmd uint8, flags uint16, build func(*encoder), each func(body []byte) error) error {
	if err := c.arm(); err != nil {
		return err
	}
	c.seq++
	c.out.b = c.out.b[:0]
	at := c.out.begin(c.family, cmd, flags, c.seq)
	if build != nil {
		build(&c.out)
	}
	c.out.end(at)
	if err := c.send(c.out.b); err != nil {
		return err
	}
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		for len(b) > 0 {
			var m message
			if m, b, err = nextMessage(b); err != nil {
				return fmt.Errorf("%w: %w", ErrTransport, err)
			}
			if m.seq != c.seq {
				continue // the answer to a request that was given up
			}
			switch m.typ {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				errno, err := m.errno()
				if err != nil {
					return fmt.Errorf("%w: %w", ErrTransport, err)
				}
				if errno != 0 {
					return errno
				}
				return nil
			case c.family:
				body, err := m.body()
				if err == nil {
					err = each(body)
				}
				if err != nil {
					return fmt.Errorf("%w: %w", ErrTransport, err)
				}
			}
		}
	}
}

// batchSize bounds the requests in one message: their answers, should all of
// them fail, take less than half of the default receive buffer.
const batchSize = 128

// batch sends requests in one message and gives the kernel's answer to each.
// Only the last one asks for an acknowledgement: a request that failed is
// answered in any case, and answers keep the order of the requests
// (net/netlink/af_netlink.c, netlink_rcv_skb).
func (c *conn) batch(n int, build func(i int, e *encoder) (cmd uint8), errs []error) error {
	if n == 0 {
		return nil
	}
	if err := c.arm(); err != nil {
		return err
	}
	c.out.b = c.out.b[:0]
	first := c.seq + 1
	for i := range n {
		c.seq++
		var flags uint16
		if i == n-1 {
			flags = unix.NLM_F_ACK
		}
		at := c.out.begin(c.family, 0, flags, c.seq)
		c.out.b[at+nlHeader] = build(i, &c.out)
		c.out.end(at)
	}
	if err := c.send(c.out.b); err != nil {
		return err
	}
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		for len(b) > 0 {
			var m message
			if m, b, err = nextMessage(b); err != nil {
				return fmt.Errorf("%w: %w", ErrTransport, err)
			}
			i := m.seq - first
			if m.typ != unix.NLMSG_ERROR || i >= uint32(n) {
				continue
			}
			errno, err := m.errno()
			if err != nil {
				return fmt.Errorf("%w: %w", ErrTransport, err)
			}
			if errno != 0 {
				errs[i] = errno
			}
			if i == uint32(n-1) {
				return nil
			}
		}
	}
}
