package main

import (
	"errors"
	"strings"
	"testing"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
)

// What no probe can ever do here is an error of the configuration, once for each check.
func TestPreflight(t *testing.T) {
	server := func(specs ...health.Spec) conf.Server {
		var s conf.Server
		for _, x := range specs {
			s.Checks = append(s.Checks, conf.Check{Name: "lag", Spec: x})
		}
		return s
	}
	bad := health.Spec{Method: &health.Method{Type: health.Exec, Exec: health.ExecOptions{Command: []string{"/no/such/program"}}}}
	user := health.Spec{Method: &health.Method{Type: health.Exec, Exec: health.ExecOptions{Command: []string{"/bin/sh"}, User: "no-such-user"}}}
	ca := health.Spec{Method: &health.Method{Type: health.TLS, TLS: health.TLSOptions{CAFile: "/no/such.pem"}}}
	good := health.Spec{Method: &health.Method{Type: health.Exec, Exec: health.ExecOptions{Command: []string{"/bin/sh"}}}}
	err := preflight(&conf.Config{Services: []conf.Service{{Servers: []conf.Server{server(bad, user, good), server(bad, ca)}}}})
	if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), "/no/such/program") ||
		!strings.Contains(err.Error(), "no-such-user") || !strings.Contains(err.Error(), "/no/such.pem") {
		t.Error(err)
	}
	if err := preflight(&conf.Config{Services: []conf.Service{{Servers: []conf.Server{server(good)}}}}); err != nil {
		t.Error(err)
	}
}

// Who runs the election alone learns that it needs no IPVS.
func TestNoIPVSNeeded(t *testing.T) {
	if err := needless(ipvsctl.ErrNoIPVS); !errors.Is(err, ipvsctl.ErrNoIPVS) || !strings.HasSuffix(err.Error(), "; a configuration without [[service]] and [sync] needs none") {
		t.Error(err)
	}
	if err := needless(ipvsctl.ErrPermission); err != ipvsctl.ErrPermission {
		t.Error(err)
	}
	if err := needless(nil); err != nil {
		t.Error(err)
	}
}
