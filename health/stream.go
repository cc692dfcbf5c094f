package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// proberFunc is a Prober that may report more than its result.
type proberFunc func(context.Context) (Report, error)

func (f proberFunc) Probe(ctx context.Context) error {
	_, err := f(ctx)
	return err
}

// dialer opens connections to one target by the path of its check.
type dialer struct {
	net.Dialer
	network string
	target  netip.AddrPort
}

// newDialer for "tcp" or "udp".
func newDialer(s Spec, network string) dialer {
	d := dialer{network: network, target: netip.AddrPortFrom(s.Target.Addr().Unmap(), s.Target.Port())}
	d.KeepAlive = -1
	if s.Source.IsValid() {
		a := net.IP(s.Source.Unmap().AsSlice())
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: a}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: a}
		}
	}
	key := poolKey{device: s.Interface, mark: s.Mark, hasSource: s.Source.IsValid()}
	d.Control = func(_, _ string, c syscall.RawConn) error {
		var errno unix.Errno
		call := "socket"
		if err := c.Control(func(fd uintptr) {
			if errno, call = key.route(int(fd)); errno == 0 && key.hasSource {
				errno, call = setInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1), "IP_BIND_ADDRESS_NO_PORT"
			}
		}); err != nil {
			return err
		}
		if errno != 0 {
			return local(call, errno)
		}
		return nil
	}
	return d
}

// open dials. The connection's deadline is that of ctx, and it ends with ctx;
// done must be called in the end.
func (d *dialer) open(ctx context.Context) (c net.Conn, done func(), err error) {
	if !d.target.IsValid() {
		return nil, nil, &Failure{ReasonInternal, "target: no address"}
	}
	if c, err = d.DialContext(ctx, d.network, d.target.String()); err != nil {
		return nil, nil, err
	}
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return c, func() { stop(); _ = c.Close() }, nil
}

// early is the failure of a connection that ended before what was expected
// of it; other errors stay what they are.
func early(err error, in string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Failure{ReasonProtocol, "closed " + in}
	}
	return err
}

// lineReader reads lines of bounded length and number.
type lineReader struct {
	r    io.Reader
	buf  []byte
	left int // octets that may still come
}

func newLineReader(r io.Reader, limit int) *lineReader { return &lineReader{r: r, left: limit} }

// next line without its end. io.EOF if the other side closed before its end;
// what came until then is there too.
func (l *lineReader) next() (string, error) {
	for {
		if i := strings.IndexByte(string(l.buf), '\n'); i >= 0 {
			s := strings.TrimSuffix(string(l.buf[:i]), "\r")
			l.buf = l.buf[i+1:]
			return s, nil
		}
		if l.left <= 0 {
			return "", &Failure{ReasonProtocol, "an answer without end"}
		}
		var b [512]byte
		n, err := l.r.Read(b[:min(len(b), l.left)])
		l.left -= n
		l.buf = append(l.buf, b[:n]...)
		if n == 0 && err != nil {
			return string(l.buf), err
		}
	}
}
