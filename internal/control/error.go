package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

// Code classes an error of the control interface. The set is closed; codes
// stand in JSON and decide the exit status.
type Code string

const (
	CodeUnreachable Code = "unreachable" // no agent answers
	CodeForbidden   Code = "forbidden"   // the caller may not do this
	CodeRefused     Code = "refused"     // not done, because it would do harm or cannot be done now
	CodeInvalid     Code = "invalid"     // the new configuration is not valid
	CodeUsage       Code = "usage"       // the request makes no sense
	CodeTimeout     Code = "timeout"     // no result in time; it may still come about
	CodeInternal    Code = "internal"    // anything else
)

// Error tells people what went wrong. Functions given to the server may return
// one to choose the code.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// ExitCode is the exit status of a command that ended with err: 0 for nil,
// 1 the answer is no, 2 usage, 3 agent not reachable, 4 not permitted,
// 5 refused for safety, 6 timed out.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch classify(err, CodeInternal).Code {
	case CodeUsage:
		return 2
	case CodeUnreachable:
		return 3
	case CodeForbidden:
		return 4
	case CodeRefused:
		return 5
	case CodeTimeout:
		return 6
	case CodeInvalid, CodeInternal:
		return 1
	}
	return 1
}

// httpStatus that carries the code.
func (c Code) httpStatus() int {
	switch c {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeForbidden:
		return http.StatusForbidden
	case CodeRefused:
		return http.StatusConflict
	case CodeInvalid:
		return http.StatusUnprocessableEntity
	case CodeTimeout:
		return http.StatusGatewayTimeout
	case CodeUnreachable:
		return http.StatusServiceUnavailable
	case CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// classify makes an Error of any error; one that says nothing of its code has
// the given one.
func classify(err error, otherwise Code) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Code: CodeTimeout, Message: "no result in time"}
	}
	return &Error{Code: otherwise, Message: err.Error()}
}

// ErrorDocument is err as one line of JSON, as the server would send it.
func ErrorDocument(err error) []byte {
	b, err := json.Marshal(errorDocument{Schema: Schema, Error: classify(err, CodeInternal)})
	if err != nil { // cannot be: plain strings
		return nil
	}
	return append(b, '\n')
}
