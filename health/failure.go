package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Failures that carry no text of their own are made once.
var (
	failTimeout = &Failure{ReasonTimeout, "no answer within the timeout"}
	failLate    = &Failure{ReasonInternal, "this machine was too late to tell"}
)

// errnoFailures are the results of a probe that the network reports: what the
// server or a machine on the way did.
var errnoFailures = map[unix.Errno]*Failure{
	unix.ECONNREFUSED: {ReasonRefused, "connection refused"},
	unix.ECONNRESET:   {ReasonReset, "connection reset"},
	unix.ECONNABORTED: {ReasonReset, "connection aborted"},
	unix.EPIPE:        {ReasonReset, "connection closed by the server"},
	unix.ETIMEDOUT:    {ReasonTimeout, "connection timed out"},
	unix.EHOSTUNREACH: {ReasonUnreachable, "no route to host"},
	unix.EHOSTDOWN:    {ReasonUnreachable, "host is down"},
	unix.ENETUNREACH:  {ReasonUnreachable, "network unreachable"},
	unix.ENOPROTOOPT:  {ReasonUnreachable, "protocol not available"}, // ICMP protocol unreachable
	unix.EPROTO:       {ReasonUnreachable, "protocol error"},
}

// remote classes an errno that came back from the network.
func remote(e unix.Errno) *Failure {
	if f := errnoFailures[e]; f != nil {
		return f
	}
	return local("socket", e)
}

// local is a failure of this machine: a system call was refused before
// anything was sent. ENETUNREACH here means that this machine has no route,
// EHOSTUNREACH an unreachable route, EPERM and EACCES its firewall or a
// prohibit route, EADDRNOTAVAIL no free port.
func local(call string, e unix.Errno) *Failure {
	return &Failure{ReasonInternal, fmt.Sprintf("%s: %v", call, e)}
}

// connectFailure classes what connect returned at once. On loopback the
// kernel may answer for the server.
func connectFailure(e unix.Errno) *Failure {
	switch e {
	case unix.ECONNREFUSED, unix.ECONNRESET, unix.ETIMEDOUT:
		return remote(e)
	}
	return local("connect", e)
}

// failureOf classes the error of a probe that went through package net, where
// it cannot be seen whether an errno came at once or from the network: no
// route counts as ours, no neighbour as the server's.
func failureOf(ctx context.Context, err error) *Failure {
	if err == nil {
		return nil
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	var e unix.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, context.Canceled), ctx.Err() != nil:
		return failTimeout
	case errors.As(err, &e) && e == unix.ENETUNREACH:
		return local("connect", e)
	case errors.As(err, &e):
		return remote(e)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return failTimeout
	}
	return &Failure{ReasonProtocol, err.Error()}
}
