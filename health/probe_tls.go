package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// tlsClient makes handshakes for one check.
type tlsClient struct {
	opts  TLSOptions
	name  string
	files *tlsFiles
}

// tlsFiles are the certificates that checks of equal options share. They are
// read again when a file has changed.
type tlsFiles struct {
	ca, cert, key string

	mu     sync.Mutex
	config *tls.Config
	stamp  string
}

// tlsShared holds them by the names of the files; their number is that of the
// configurations there have been.
var tlsShared sync.Map

// newTLSClient whose server is called name if the options do not say.
func newTLSClient(s Spec, protocols ...string) *tlsClient {
	c := &tlsClient{opts: s.TLS, name: s.TLS.ServerName}
	if c.name == "" && s.Type == HTTPS && s.HTTP.Host != "" {
		c.name = s.HTTP.Host
		if h, _, err := net.SplitHostPort(c.name); err == nil {
			c.name = h
		}
		c.name = strings.Trim(c.name, "[]")
	}
	if c.name == "" {
		c.name = s.Target.Addr().Unmap().WithZone("").String()
	}
	if len(c.opts.ALPN) == 0 {
		c.opts.ALPN = protocols
	}
	x, _ := tlsShared.LoadOrStore([3]string{c.opts.CAFile, c.opts.CertFile, c.opts.KeyFile},
		&tlsFiles{ca: c.opts.CAFile, cert: c.opts.CertFile, key: c.opts.KeyFile})
	c.files = x.(*tlsFiles)
	return c
}

// prepare reads the files. Whatever is wrong with them is this machine's trouble.
func (c *tlsFiles) prepare() (*tls.Config, error) {
	stamp := ""
	for _, name := range []string{c.ca, c.cert, c.key} {
		if name == "" {
			continue
		}
		st, err := os.Stat(name)
		if err != nil {
			return nil, &Failure{ReasonInternal, err.Error()}
		}
		stamp += fmt.Sprint(st.ModTime().UnixNano(), st.Size(), " ")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config != nil && c.stamp == stamp {
		return c.config, nil
	}
	// The chain is verified in VerifyConnection, where the certificate can be
	// told of whether it is good or not.
	cfg := &tls.Config{InsecureSkipVerify: true}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, &Failure{ReasonInternal, err.Error()}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &Failure{ReasonInternal, c.ca + " holds no certificate"}
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, &Failure{ReasonInternal, "client certificate: " + err.Error()}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	c.config, c.stamp = cfg, stamp
	return cfg, nil
}

// handshake makes a TLS connection of raw. It may be closed by closing raw alone.
func (c *tlsClient) handshake(ctx context.Context, raw net.Conn, rep *Report) (*tls.Conn, error) {
	base, err := c.files.prepare()
	if err != nil {
		return nil, err
	}
	cfg := base.Clone()
	cfg.ServerName, cfg.NextProtos = c.name, c.opts.ALPN
	cfg.VerifyConnection = func(st tls.ConnectionState) error { return c.verify(cfg, st, rep) }
	sc := &slotConn{Conn: raw, ctx: ctx, slots: cpuSlots()}
	if err := sc.take(); err != nil {
		return nil, err
	}
	defer sc.give()
	conn := tls.Client(sc, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, tlsFailure(ctx, err)
	}
	if len(c.opts.ALPN) > 0 && conn.ConnectionState().NegotiatedProtocol == "" {
		return nil, &Failure{ReasonTLS, "the server chose none of the protocols " + strings.Join(c.opts.ALPN, ", ")}
	}
	return conn, nil
}

func (c *tlsClient) verify(cfg *tls.Config, st tls.ConnectionState, rep *Report) error {
	if len(st.PeerCertificates) == 0 {
		return &Failure{ReasonTLS, "the server showed no certificate"}
	}
	leaf := st.PeerCertificates[0]
	rep.NotAfter = leaf.NotAfter
	if !c.opts.NoVerify {
		o := x509.VerifyOptions{Roots: cfg.RootCAs, DNSName: c.name, Intermediates: x509.NewCertPool()}
		for _, x := range st.PeerCertificates[1:] {
			o.Intermediates.AddCert(x)
		}
		if _, err := leaf.Verify(o); err != nil {
			return &Failure{ReasonTLS, err.Error()}
		}
	}
	if days := time.Until(leaf.NotAfter) / (24 * time.Hour); c.opts.MinDaysLeft > 0 && time.Until(leaf.NotAfter) < time.Duration(c.opts.MinDaysLeft)*24*time.Hour {
		return &Failure{ReasonTLS, fmt.Sprintf("the certificate ends in %d days, on %s", days, leaf.NotAfter.UTC().Format(time.DateOnly))}
	}
	return nil
}

// tlsFailure classes what ended a handshake: timeouts and resets are what they
// are, all else is TLS.
func tlsFailure(ctx context.Context, err error) error {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	if f := failureOf(ctx, err); f.Reason != ReasonProtocol {
		return f
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Failure{ReasonTLS, "closed within the handshake"}
	}
	return &Failure{ReasonTLS, printable(err.Error())}
}

// stream is a connection to a server, with TLS or without.
type stream struct {
	dialer
	tls *tlsClient // nil without
}

func newStream(s Spec, withTLS bool) stream {
	st := stream{dialer: newDialer(s, "tcp")}
	if withTLS {
		st.tls = newTLSClient(s)
	}
	return st
}

// open connects. done ends the connection.
func (s *stream) open(ctx context.Context, rep *Report) (c net.Conn, done func(), err error) {
	raw, done, err := s.dialer.open(ctx)
	if err != nil || s.tls == nil {
		return raw, done, err
	}
	t, err := s.tls.handshake(ctx, raw, rep)
	if err != nil {
		done()
		return nil, nil, err
	}
	return t, done, nil
}

// newTLSProber makes the handshake and nothing else.
func newTLSProber(s Spec) Prober {
	st := newStream(s, true)
	return proberFunc(func(ctx context.Context) (rep Report, err error) {
		c, done, err := st.open(ctx, &rep)
		if err != nil {
			return rep, err
		}
		defer done()
		_ = c.Close() // tells the server that nothing follows
		return rep, nil
	})
}

// newHTTPSProber speaks the HTTP of the engine over TLS.
func newHTTPSProber(s Spec) Prober {
	check, f := newHTTPCheck(s)
	if f != nil {
		return failing(f)
	}
	st := newStream(s, true)
	return proberFunc(func(ctx context.Context) (rep Report, err error) {
		c, done, err := st.open(ctx, &rep)
		if err != nil {
			return rep, err
		}
		defer done()
		if _, err := c.Write(check.request); err != nil {
			return rep, err
		}
		var reply httpReply
		buf := make([]byte, 4<<10)
		for {
			n, err := c.Read(buf)
			if f, over := reply.feed(check, buf[:n]); over {
				rep.Advice = reply.advice
				return rep, orNil(f)
			}
			switch {
			case err == nil:
			case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
				f := reply.eof(check)
				rep.Advice = reply.advice
				return rep, orNil(f)
			default:
				return rep, tlsFailure(ctx, err)
			}
		}
	})
}

// orNil keeps a nil *Failure from becoming an error.
func orNil(f *Failure) error {
	if f == nil {
		return nil
	}
	return f
}
