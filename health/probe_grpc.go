package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// grpc.health.v1 (github.com/grpc/grpc-proto, health.proto):
//
//	HealthCheckRequest  { string service = 1; }
//	HealthCheckResponse { ServingStatus status = 1; }
var servingStatus = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const (
	maxGRPC      = 4 << 10
	statusServes = 1
)

// grpcRequest is the message in its frame: one octet for "not compressed",
// four for the length.
func grpcRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service)))
		m = append(m, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// grpcStatus reads the serving status out of the one frame of a reply.
func grpcStatus(b []byte) (uint64, *Failure) {
	if len(b) < 5 {
		return 0, &Failure{ReasonProtocol, "no message of gRPC"}
	}
	n := binary.BigEndian.Uint32(b[1:])
	if b[0] != 0 {
		return 0, &Failure{ReasonProtocol, "a compressed message, which was not asked for"}
	}
	if uint64(n) != uint64(len(b)-5) {
		return 0, &Failure{ReasonProtocol, fmt.Sprintf("a message of %d octets that says %d", len(b)-5, n)}
	}
	bad := &Failure{ReasonProtocol, "no HealthCheckResponse"}
	var status uint64 // absent is UNKNOWN
	for b = b[5:]; len(b) > 0; {
		tag, k := binary.Uvarint(b)
		if k <= 0 || tag>>3 == 0 {
			return 0, bad
		}
		b = b[k:]
		skip := uint64(0)
		switch tag & 7 {
		case 0:
			v, k := binary.Uvarint(b)
			if k <= 0 {
				return 0, bad
			}
			b = b[k:]
			if tag>>3 == 1 {
				status = v
			}
		case 1:
			skip = 8
		case 2:
			v, k := binary.Uvarint(b)
			if k <= 0 {
				return 0, bad
			}
			b, skip = b[k:], v
		case 5:
			skip = 4
		default:
			return 0, bad
		}
		if skip > uint64(len(b)) {
			return 0, bad
		}
		b = b[skip:]
	}
	return status, nil
}

// grpcJudge is the result of a whole reply.
func grpcJudge(code, message string, body []byte) *Failure {
	switch code {
	case "0":
	case "5":
		return &Failure{ReasonStatus, "the server does not know the service"}
	case "12":
		return &Failure{ReasonProtocol, "the server has no health service"}
	case "":
		return &Failure{ReasonProtocol, "no grpc-status"}
	default:
		return &Failure{ReasonStatus, "grpc-status " + printable(code+" "+message)}
	}
	status, f := grpcStatus(body)
	switch {
	case f != nil:
		return f
	case status == statusServes:
		return nil
	case status < uint64(len(servingStatus)):
		return &Failure{ReasonStatus, servingStatus[status]}
	default:
		return &Failure{ReasonStatus, fmt.Sprintf("serving status %d", status)}
	}
}

// witness remembers the first error of a connection.
type witness struct {
	net.Conn
	mu  sync.Mutex
	err error
}

func (w *witness) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && err != nil && !errors.Is(err, net.ErrClosed) {
		w.err = err
	}
}

func (w *witness) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.note(err)
	return n, err
}

func (w *witness) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.note(err)
	return n, err
}

func newGRPCProber(s Spec) Prober {
	d := newDialer(s, "tcp")
	scheme := "http"
	var client *tlsClient
	if s.TLS.On {
		scheme, client = "https", newTLSClient(s, "h2")
	}
	body := grpcRequest(s.GRPC.Service)
	host := d.target.String()
	if s.TLS.On && s.TLS.ServerName != "" {
		host = s.TLS.ServerName
	}
	return proberFunc(func(ctx context.Context) (rep Report, err error) {
		// A connection of its own for each probe, and nothing of it left.
		var done func()
		wire := &witness{}
		dial := func(context.Context) (net.Conn, error) {
			c, end, err := d.open(ctx)
			if err != nil {
				return nil, err
			}
			done, wire.Conn = end, c
			return wire, nil
		}
		t := &http.Transport{Proxy: nil, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, Protocols: new(http.Protocols),
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
		if client == nil {
			t.Protocols.SetUnencryptedHTTP2(true)
			t.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial(ctx) }
		} else {
			t.Protocols.SetHTTP2(true)
			t.TLSNextProto = nil
			t.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
				c, err := dial(ctx)
				if err != nil {
					return nil, err
				}
				return client.handshake(ctx, c, &rep)
			}
		}
		defer func() {
			t.CloseIdleConnections()
			if done != nil {
				done()
			}
		}()
		req := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: scheme, Host: d.target.String(), Path: "/grpc.health.v1.Health/Check"},
			Host: host, Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
			Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"lvs-ha"}}}
		resp, err := t.RoundTrip(req.WithContext(ctx))
		if err != nil {
			var f *Failure
			if e := wire.failure(); e != nil && !errors.As(err, &f) { // net/http tells what follows from it
				err = e
			}
			return rep, early(err, "without an answer")
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return rep, &Failure{ReasonStatus, fmt.Sprintf("status %d", resp.StatusCode)}
		}
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/grpc") {
			return rep, &Failure{ReasonProtocol, fmt.Sprintf("not gRPC: content type %.40q", resp.Header.Get("Content-Type"))}
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxGRPC+1))
		if err != nil {
			return rep, early(err, "within the answer")
		}
		if len(b) > maxGRPC {
			return rep, &Failure{ReasonProtocol, "an answer of more than 4 KiB"}
		}
		where := resp.Trailer
		if where.Get("Grpc-Status") == "" { // an answer of headers alone has it there
			where = resp.Header
		}
		return rep, orNil(grpcJudge(where.Get("Grpc-Status"), where.Get("Grpc-Message"), b))
	})
}
