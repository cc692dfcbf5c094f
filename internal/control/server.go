package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"lvs-ha/internal/director"
	"lvs-ha/internal/fresh"
	"lvs-ha/vrrp/link"
)

const (
	statusLimit   = 1900 * time.Millisecond // for newer figures; then the latest there are
	changeLimit   = 60 * time.Second        // for a reload or failover
	bodyLimit     = 4 << 10                 // octets of a request's body
	connLimit     = 32                      // connections at once; more are closed
	shutdownLimit = time.Second             // for requests under way when the server ends
)

// Options of a server. Path and Source are needed.
type Options struct {
	// Path of the socket, at most 103 octets.
	Path    string
	Source  fresh.Source
	Version string
	Log     *slog.Logger
	// Reload reads the configuration again; its error is for people. May be nil.
	Reload func(ctx context.Context) error
	// Failover releases an instance in order. May be nil.
	Failover func(ctx context.Context, f link.Failover) error
	// IPVS makes a change of the kernel's table that a person asks for; an
	// error that does not tell its code is a refusal. May be nil.
	IPVS func(ctx context.Context, q IPVSChange) (IPVSResult, error)
	// Admin takes orders for servers and pauses. May be nil.
	Admin func(ctx context.Context, r director.AdminRequest) (director.AdminResult, error)
}

// Server answers at the socket.
type Server struct {
	o      Options
	socket *socket
	reader *fresh.Reader
	conns  chan struct{}
}

// Listen takes the socket, so that a second agent is noticed early. It starts
// no goroutine; Serve or Close must follow.
func Listen(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	sock, err := openSocket(o.Path)
	if err != nil {
		return nil, err
	}
	return &Server{o: o, socket: sock, reader: fresh.NewReader(o.Source, statusLimit), conns: make(chan struct{}, connLimit)}, nil
}

// Close gives the socket back without having served.
func (s *Server) Close() error { return s.socket.Close() }

// Serve answers until ctx ends, and then takes the socket away. It returns nil
// after an orderly end.
func (s *Server) Serve(ctx context.Context) error {
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      changeLimit + 10*time.Second,
		MaxHeaderBytes:    8 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c.(*conn).peer)
		},
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	srv.SetKeepAlivesEnabled(false)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener{s}) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the control socket %s ended: %w", s.o.Path, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		srv.Close()
	}
	<-ended
	return nil
}

// listener hands out connections with their peer's credentials.
type listener struct{ s *Server }

func (l listener) Addr() net.Addr { return l.s.socket.Addr() }
func (l listener) Close() error   { return l.s.socket.Close() }

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.s.socket.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err != nil {
			l.s.o.Log.Debug("control: peer credentials", "err", err)
			c.Close()
			continue
		}
		select {
		case l.s.conns <- struct{}{}:
			return &conn{UnixConn: c, peer: p, release: sync.OnceFunc(func() { <-l.s.conns })}, nil
		default:
			c.Close()
		}
	}
}

// conn is a connection that counts against the limit until it is closed.
type conn struct {
	*net.UnixConn
	peer    peer
	release func()
}

func (c *conn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

type peerKey struct{}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/reload", s.reload)
	mux.HandleFunc("POST /v1/failover", s.failover)
	mux.HandleFunc("POST /v1/ipvs/{kind}", s.ipvs)
	mux.HandleFunc("POST /v1/admin", s.admin)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &Error{Code: CodeUsage, Message: "this agent (" + s.o.Version + ") does not know the request", Hint: "is the command of another version?"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(peerKey{}).(peer)
		if !p.mayRead(s.socket.gid) {
			s.fail(w, &Error{Code: CodeForbidden, Message: "not permitted", Hint: "be root or a member of group " + groupRead})
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !p.mayWrite() {
			s.fail(w, &Error{Code: CodeForbidden, Message: "not permitted", Hint: "changes need root or group " + groupAdmin})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	snap := s.reader.Read(r.Context())
	if snap == nil {
		s.fail(w, &Error{Code: CodeUnreachable, Message: "the agent is starting", Hint: "ask again"})
		return
	}
	s.reply(w, http.StatusOK, NewDocument(snap, s.o.Version))
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if err := empty(r.Body); err != nil {
		s.fail(w, err)
		return
	}
	s.change(w, r, CodeInvalid, s.o.Reload)
}

func (s *Server) failover(w http.ResponseWriter, r *http.Request) {
	var q failoverRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		s.fail(w, &Error{Code: CodeUsage, Message: "the request cannot be read: " + err.Error()})
		return
	}
	f, err := q.check()
	if err != nil {
		s.fail(w, err)
		return
	}
	var do func(context.Context) error
	if s.o.Failover != nil {
		do = func(ctx context.Context) error { return s.o.Failover(ctx, f) }
	}
	s.change(w, r, CodeRefused, do)
}

// failoverRequest is the body of POST /v1/failover.
type failoverRequest struct {
	Instance string  `json:"instance"`
	For      float64 `json:"for"` // seconds
	Force    bool    `json:"force"`
}

// longestFailover: who wants more means "until I say otherwise", which is 0.
const longestFailover = 365 * 24 * time.Hour

func (q failoverRequest) check() (link.Failover, *Error) {
	switch {
	case q.Instance == "":
		return link.Failover{}, &Error{Code: CodeUsage, Message: "which VRRP instance is to fail over?"}
	case !(q.For >= 0 && q.For <= longestFailover.Seconds()):
		return link.Failover{}, &Error{Code: CodeUsage, Message: "a failover lasts 0 seconds to 365 days"}
	}
	return link.Failover{Instance: q.Instance, For: time.Duration(q.For * float64(time.Second)), Force: q.Force}, nil
}

// change runs one of the injected functions; an error that does not tell its
// code has the given one.
func (s *Server) change(w http.ResponseWriter, r *http.Request, otherwise Code, do func(context.Context) error) {
	if do == nil {
		s.fail(w, &Error{Code: CodeUsage, Message: "this agent cannot do that"})
		return
	}
	// The request is read; its deadline would end the work that it asked for.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		s.o.Log.Debug("control: read deadline", "err", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), changeLimit)
	defer cancel()
	if err := do(ctx); err != nil {
		s.fail(w, classify(err, otherwise))
		return
	}
	s.reply(w, http.StatusOK, doneDocument{Schema: Schema, Done: true})
}

// doneDocument answers a change; errorDocument answers what was not done.
type (
	doneDocument struct {
		Schema string `json:"schema"`
		Done   bool   `json:"done"`
	}
	errorDocument struct {
		Schema string `json:"schema"`
		Error  *Error `json:"error"`
	}
)

func (s *Server) fail(w http.ResponseWriter, e *Error) {
	s.reply(w, e.Code.httpStatus(), errorDocument{Schema: Schema, Error: e})
}

func (s *Server) reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // cannot be: the documents are plain values
		s.o.Log.Error("control: an answer cannot be written", "event", "control_failed", "err", err)
		code, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(append(b, '\n')); err != nil && !errors.Is(err, net.ErrClosed) {
		s.o.Log.Debug("control: the caller left", "err", err)
	}
}

// empty refuses a body where none belongs.
func empty(body io.Reader) *Error {
	if n, _ := body.Read(make([]byte, 1)); n > 0 {
		return &Error{Code: CodeUsage, Message: "the request has a body that it should not have"}
	}
	return nil
}
