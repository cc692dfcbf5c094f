package health

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// prepared is what the engine makes once for each check.
type prepared struct {
	kind   kind
	to     sockaddr
	pool   *pool
	urgent bool
	http   *httpCheck
	udp    *UDPOptions
	prober Prober // for types that the engine leaves to goroutines
}

type kind uint8

const (
	tcpHalf kind = iota
	tcpFIN
	tcpReset
	httpGet
	udpAsk
)

// pool keeps sockets that any check of the same key may use.
type pool struct {
	key    poolKey
	source sockaddr
	idle   []*conn
}

type poolKey struct {
	family    int
	datagram  bool
	ackLater  bool // the third packet of the handshake waits for us
	urgent    bool
	source    netip.Addr
	hasSource bool
	device    string
	mark      uint32
	held      bool
}

// maxIdle sockets rest in a pool; a flood of hung servers leaves no more.
const maxIdle = 256

// conn is a socket and the probe on it.
type conn struct {
	c          *check // nil at rest
	pool       *pool
	fd         int // -1: closed
	slot       int32
	generation int32
	step       step
	sent       int
	late       int64
	reply      *httpReply
	held       *check // whose held connection this is; c is nil then
}

type step uint8

const (
	connecting step = iota
	sending
	receiving
)

func (e *engine) prepare(c *check) (*prepared, *Failure) {
	s := c.spec
	switch s.Type {
	case TCP, HTTP, UDP:
	default:
		return &prepared{prober: e.probers(s)}, nil
	}
	p := &prepared{urgent: tick(int64(min(s.interval(), s.fastInterval(), s.downInterval()))) < urgentTick}
	key := poolKey{urgent: p.urgent, device: s.Interface, mark: s.Mark}
	var err error
	if p.to, key.family, err = newSockaddr(s.Target); err != nil {
		return nil, &Failure{ReasonInternal, "target: " + err.Error()}
	}
	switch s.Type {
	case HTTP:
		p.kind, key.ackLater = httpGet, true
		var f *Failure
		if p.http, f = newHTTPCheck(s); f != nil {
			return nil, f
		}
	case UDP:
		p.kind, p.udp, key.datagram = udpAsk, &s.UDP, true
	default:
		switch {
		case s.TCP.handshake() == handshakeHalf:
			p.kind, key.ackLater = tcpHalf, true
		case s.TCP.close() == closeReset:
			p.kind = tcpReset
		default:
			p.kind = tcpFIN
		}
	}
	var source sockaddr
	if s.Source.IsValid() {
		var family int
		if source, family, err = newSockaddr(netip.AddrPortFrom(s.Source, 0)); err == nil && family != key.family {
			err = errors.New("of another family than the target")
		}
		if err != nil {
			return nil, &Failure{ReasonInternal, "source: " + err.Error()}
		}
		key.source, key.hasSource = s.Source.Unmap(), true
	}
	if p.pool = e.pools[key]; p.pool == nil {
		p.pool = &pool{key: key, source: source}
		e.pools[key] = p.pool
	}
	return p, nil
}

// open takes a socket from the pool, the one used last, or makes one.
func (e *engine) open(p *prepared) (*conn, *Failure) {
	pl := p.pool
	if n := len(pl.idle); n > 0 {
		cn := pl.idle[n-1]
		pl.idle = pl.idle[:n-1]
		if cn.fd >= 0 {
			return cn, nil
		}
		return cn, e.socket(cn)
	}
	return e.connIn(pl)
}

// connIn makes a socket of the kind that a pool keeps.
func (e *engine) connIn(pl *pool) (*conn, *Failure) {
	cn := &conn{pool: pl, fd: -1}
	if n := len(e.free); n > 0 {
		cn.slot = e.free[n-1]
		e.free = e.free[:n-1]
		e.conns[cn.slot] = cn
	} else {
		cn.slot = int32(len(e.conns))
		e.conns = append(e.conns, cn)
	}
	return cn, e.socket(cn)
}

// socket opens the socket of cn. If that fails cn is given up.
func (e *engine) socket(cn *conn) *Failure {
	k := &cn.pool.key
	typ := unix.SOCK_STREAM
	if k.datagram {
		typ = unix.SOCK_DGRAM
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(k.family), uintptr(typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), 0)
	call := "socket"
	if errno == 0 {
		cn.fd = int(fd)
		cn.generation++
		if k.ackLater {
			// On the client's side this holds back the ACK of the handshake for up to
			// 200 ms (tcp_rcv_synsent_state_process): a reset or the request goes out
			// in its place, and a half-open probe never completes the handshake.
			errno, call = setInt(cn.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1), "TCP_DEFER_ACCEPT"
		}
		if errno == 0 {
			errno, call = k.route(cn.fd)
		}
		if errno == 0 && k.hasSource {
			// Else bind takes a port that no other connection may use, whatever its target.
			level, opt := unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT
			errno, call = setInt(cn.fd, level, opt, 1), "IP_BIND_ADDRESS_NO_PORT"
			if errno == 0 {
				errno, call = bind(cn.fd, &cn.pool.source), "bind"
			}
		}
		if errno == 0 {
			ep := e.batch
			if k.urgent {
				ep = e.urgent
			}
			if k.held {
				_ = setInt(cn.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1) // a peer that is gone shows in the end
			}
			ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET&0xffffffff, Fd: cn.slot, Pad: cn.generation}
			if k.held {
				ev.Events |= unix.EPOLLRDHUP
			}
			if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, cn.fd, &ev); err != nil {
				errno, call = err.(unix.Errno), "epoll_ctl"
			}
		}
	}
	if errno != 0 {
		e.discard(cn)
		return local(call, errno)
	}
	return nil
}

// route binds a socket to the key's interface and mark.
func (k *poolKey) route(fd int) (unix.Errno, string) {
	if k.mark != 0 {
		if errno := setInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(k.mark)); errno != 0 {
			return errno, "SO_MARK"
		}
	}
	if k.device != "" {
		if err := unix.BindToDevice(fd, k.device); err != nil {
			errno, _ := err.(unix.Errno)
			return errno, "SO_BINDTODEVICE " + k.device
		}
	}
	return 0, ""
}

// rest puts a socket without a connection into its pool.
func (e *engine) rest(cn *conn) {
	if len(cn.pool.idle) >= maxIdle {
		e.discard(cn)
		return
	}
	cn.pool.idle = append(cn.pool.idle, cn)
}

// recycle takes the connection away: a reset goes out where the server has one.
func (e *engine) recycle(cn *conn) {
	if cn.pool.key.datagram || connect(cn.fd, &unspecified) != 0 {
		e.finish(cn)
		return
	}
	e.rest(cn)
}

// finish closes the socket: a FIN goes out. Its place in the pool stays.
func (e *engine) finish(cn *conn) {
	closeFD(cn.fd)
	cn.fd = -1
	e.rest(cn)
}

func (e *engine) discard(cn *conn) {
	if cn.fd >= 0 {
		closeFD(cn.fd)
		cn.fd = -1
	}
	cn.held = nil
	e.conns[cn.slot] = nil
	e.free = append(e.free, cn.slot)
}

// launch takes the first step of a probe.
func (e *engine) launch(cn *conn) (f *Failure, over bool) {
	p := cn.c.prep
	cn.step, cn.sent = connecting, 0
	errno := connect(cn.fd, &p.to)
	switch {
	case p.kind == udpAsk && errno == 0:
		cn.step = receiving
		if _, errno = send(cn.fd, p.udp.payload()); errno != 0 {
			e.finish(cn)
			return local("send", errno), true
		}
		return nil, false
	case errno == 0 || errno == unix.EINPROGRESS: // the event tells
		return nil, false
	default:
		e.recycle(cn)
		return connectFailure(errno), true
	}
}

// advance goes on after an event and tells whether the probe is over.
func (e *engine) advance(cn *conn, events uint32) (f *Failure, over bool) {
	p := cn.c.prep
	if cn.step == connecting {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			errno := socketError(cn.fd)
			if errno == 0 { // closed again before we looked
				errno = unix.ECONNRESET
			}
			// Not used again: an ICMP error stays in the socket's error queue
			// (tcp_v4_err queues it unasked) and would be every later probe's, too.
			e.finish(cn)
			return remote(errno), true
		}
		if events&unix.EPOLLOUT == 0 {
			return nil, false
		}
		switch p.kind {
		case tcpHalf, tcpReset:
			e.recycle(cn)
			return nil, true
		case tcpFIN:
			e.finish(cn)
			return nil, true
		case httpGet, udpAsk:
			cn.step = sending
			if cn.reply == nil {
				cn.reply = new(httpReply)
			}
			*cn.reply = httpReply{}
		}
	}
	if cn.step == sending {
		n, errno := send(cn.fd, p.http.request[cn.sent:])
		switch {
		case errno == unix.EAGAIN:
			return nil, false
		case errno != 0:
			// The server may have answered before it was asked (and closed).
			cn.step = receiving
			return e.receive(cn, p)
		}
		if cn.sent += n; cn.sent < len(p.http.request) {
			return nil, false
		}
		cn.step = receiving
		if events&unix.EPOLLIN == 0 {
			return nil, false
		}
	}
	return e.receive(cn, p)
}

// receive reads what is there.
func (e *engine) receive(cn *conn, p *prepared) (f *Failure, over bool) {
	for {
		n, errno := read(cn.fd, e.buf)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return nil, false
		case errno != 0:
			e.recycle(cn)
			return remote(errno), true
		case p.kind == udpAsk:
			e.finish(cn)
			return p.udp.judge(e.buf[:n]), true
		case n == 0:
			// The server has closed: it does not see a reset any more.
			e.recycle(cn)
			f := cn.reply.eof(p.http)
			cn.advise()
			return f, true
		}
		if f, over := cn.reply.feed(p.http, e.buf[:n]); over {
			cn.advise()
			e.close1(cn)
			return f, true
		}
	}
}

// advise hands over what the reply advises.
func (cn *conn) advise() {
	if cn.reply.advice != (Advice{}) {
		cn.c.tell().Advice = cn.reply.advice
	}
}

// close1 ends a connection whose reply is known. If the server has closed it
// too, a reset harms nobody and the socket can be used again; else it gets a FIN.
func (e *engine) close1(cn *conn) {
	if n, errno := read(cn.fd, e.buf[:1]); n == 0 && errno == 0 {
		e.recycle(cn)
		return
	}
	e.finish(cn)
}

// overdue ends a probe at its deadline.
func (e *engine) overdue(cn *conn) *Failure {
	p := cn.c.prep
	f := failTimeout
	switch {
	case p.kind == udpAsk && p.udp.NoReply:
		f = nil
	case cn.step != connecting && p.kind == httpGet && e.late-cn.late > cn.c.timing.timeout/2:
		// The server had less time than it seems: we noticed its handshake late.
		f = failLate
	}
	if cn.step == connecting {
		e.finish(cn) // an ICMP error may be in its queue, see advance
	} else {
		e.recycle(cn)
	}
	return f
}
