package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"lvs-ha/vrrp/link"
)

const (
	// readLimit is how long a status may take; the agent answers within two seconds.
	readLimit = 10 * time.Second
	// restartLimit is how long a dead socket is given to come alive.
	restartLimit = 1500 * time.Millisecond
	// answerLimit bounds what is read of an answer: some 40 000 servers fit.
	answerLimit = 256 << 20
)

// Client talks to the agent at a socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client; it does not connect yet.
func NewClient(path string) *Client {
	return &Client{path: path, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial(ctx, path)
			},
		},
	}}
}

// dial connects. A socket that nobody listens at may be that of a director that
// is being started again, which is back within a second: it is tried for a while.
func dial(ctx context.Context, path string) (net.Conn, error) {
	patience := time.NewTimer(restartLimit)
	defer patience.Stop()
	again := time.NewTicker(restartLimit / 15)
	defer again.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return c, err
		}
		select {
		case <-patience.C:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}

// Status returns the document and the JSON it came as (one line, with keys
// that a newer agent may have added).
func (c *Client) Status(ctx context.Context) (*Document, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	raw, err := c.do(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return nil, nil, err
	}
	d := new(Document)
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, nil, &Error{Code: CodeInternal, Message: "the answer of the agent cannot be read: " + err.Error()}
	}
	if d.Schema != Schema {
		return nil, nil, &Error{Code: CodeInternal, Message: fmt.Sprintf("the agent answers with schema %q, this command reads %q", d.Schema, Schema),
			Hint: "use the command of the agent's version"}
	}
	return d, bytes.TrimSpace(raw), nil
}

// Reload makes the agent read its configuration and waits for the result.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/reload", nil)
	return err
}

// Failover asks for an orderly release of one instance.
func (c *Client) Failover(ctx context.Context, f link.Failover) error {
	body, err := json.Marshal(failoverRequest{Instance: f.Instance, For: f.For.Seconds(), Force: f.Force})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPost, "/v1/failover", body)
	return err
}

// do sends a request; every error is an *Error.
func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, method, "http://lvs-ha"+path, bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Code: CodeInternal, Message: err.Error()}
	}
	r, err := c.http.Do(q)
	if err != nil {
		return nil, c.explain(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(r.Body, answerLimit))
	if err != nil {
		return nil, c.explain(err)
	}
	if r.StatusCode == http.StatusOK {
		return raw, nil
	}
	var e errorDocument
	if json.Unmarshal(raw, &e) != nil || e.Error == nil || e.Error.Message == "" {
		return nil, &Error{Code: CodeInternal, Message: fmt.Sprintf("what answers at %s is not an lvs-ha agent (HTTP %d)", c.path, r.StatusCode)}
	}
	return nil, e.Error
}

// explain turns trouble with the socket into a sentence that says what to do.
func (c *Client) explain(err error) *Error {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return &Error{Code: CodeUnreachable, Message: fmt.Sprintf("no agent at %s: is lvs-ha running?", c.path)}
	case errors.Is(err, os.ErrPermission):
		return &Error{Code: CodeForbidden, Message: "not permitted to talk to the agent at " + c.path, Hint: "be root or a member of group " + groupRead}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Code: CodeTimeout, Message: fmt.Sprintf("the agent at %s did not answer in time", c.path)}
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeTimeout, Message: "interrupted"}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Code: CodeUnreachable, Message: fmt.Sprintf("the agent at %s ended or is too busy to answer; ask again", c.path)}
	}
	return &Error{Code: CodeUnreachable, Message: fmt.Sprintf("cannot talk to the agent at %s: %v", c.path, err)}
}
