package control

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIPVS(t *testing.T) {
	needRoot(t)
	var got IPVSChange
	var answer error
	path := serve(t, Options{Source: still(fixture()), IPVS: func(_ context.Context, q IPVSChange) (IPVSResult, error) {
		got = q
		return IPVSResult{Changes: []string{"add it"}, Failed: []string{"not that"}, Alone: 3}, answer
	}})
	c := NewClient(path)
	for _, q := range []IPVSChange{
		{Kind: IPVSZero, Service: "web"},
		{Kind: IPVSRestore, Rules: strings.Repeat("-A -t 192.0.2.1:80\n", 100_000), DryRun: true},
		{Kind: IPVSTimeouts, TCP: 900, TCPFin: 120, UDP: 300},
	} {
		r, err := c.IPVS(t.Context(), q)
		q.Namespace = NetworkNamespace()
		if d := cmp.Diff(q, got); d != "" || err != nil {
			t.Errorf("%v %s", err, d)
		}
		if d := cmp.Diff(IPVSResult{Schema: Schema, Changes: []string{"add it"}, Failed: []string{"not that"}, Alone: 3}, r); d != "" {
			t.Error(d)
		}
	}
	answer = errors.New("no")
	if _, err := c.IPVS(t.Context(), IPVSChange{Kind: IPVSZero}); code(err) != CodeRefused {
		t.Error(err)
	}
	answer = &Error{Code: CodeForbidden, Message: "no"}
	if _, err := c.IPVS(t.Context(), IPVSChange{Kind: IPVSZero}); code(err) != CodeForbidden {
		t.Error(err)
	}
	if _, err := c.IPVS(t.Context(), IPVSChange{Kind: "flush"}); code(err) != CodeUsage {
		t.Error(err)
	}
	for body, want := range map[string]Code{
		`{"network_namespace":"net:[1]"}`: CodeRefused,
		`{"flush":true}`:                  CodeUsage,
		`x`:                               CodeUsage,
		`{"tcp":-1}`:                      CodeUsage,
	} {
		if _, err := c.do(t.Context(), "POST", "/v1/ipvs/zero", []byte(body)); code(err) != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := c.do(t.Context(), "GET", "/v1/ipvs/zero", nil); code(err) != CodeUsage {
		t.Errorf("GET: %v", err)
	}
	without := NewClient(serve(t, Options{Source: still(fixture())}))
	if _, err := without.IPVS(t.Context(), IPVSChange{Kind: IPVSZero}); code(err) != CodeUsage {
		t.Error(err)
	}
}
