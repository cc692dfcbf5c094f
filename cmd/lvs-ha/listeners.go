package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"

	"lvs-ha/conf"
	"lvs-ha/internal/director"
	"lvs-ha/metrics"
)

// listeners serve the HTTP endpoints on the configured addresses and follow
// a reload: an address that stays is never closed in between.
type listeners struct {
	log     *slog.Logger
	handler http.Handler

	mu      sync.Mutex
	open    map[string]net.Listener
	servers map[string]*http.Server
	wg      sync.WaitGroup
}

func newListeners(log *slog.Logger) *listeners {
	return &listeners{log: log, open: map[string]net.Listener{}, servers: map[string]*http.Server{}}
}

// prepare opens what a configuration names beyond what is open.
func (l *listeners) prepare(c *conf.Config) (director.Prepared, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := map[string]net.Listener{}
	abandon := func() {
		for _, x := range fresh {
			x.Close()
		}
	}
	for _, addr := range c.HTTP.Listen {
		if l.open[addr] != nil || fresh[addr] != nil {
			continue
		}
		x, err := net.Listen("tcp", addr)
		if err != nil {
			abandon()
			return director.Prepared{}, listenError(addr, err)
		}
		fresh[addr] = x
	}
	return director.Prepared{Abandon: abandon, Commit: func() { l.commit(c.HTTP.Listen, fresh) }}, nil
}

func listenError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("[http] listen %s: another program listens there; choose another port, or stop that program", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("[http] listen %s: this machine has no such address; name one of its own, per node under [nodes.<name>.http]", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("[http] listen %s: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE", addr)
	}
	return fmt.Errorf("[http] listen %s: %w", addr, err)
}

func (l *listeners) commit(want []string, fresh map[string]net.Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr, s := range l.servers {
		if !slices.Contains(want, addr) {
			s.Close()
			delete(l.servers, addr)
			delete(l.open, addr)
		}
	}
	for addr, x := range fresh {
		s := metrics.NewServer(l.handler, l.log)
		l.open[addr], l.servers[addr] = x, s
		l.wg.Go(func() {
			if err := s.Serve(x); !errors.Is(err, http.ErrServerClosed) {
				l.log.Error("HTTP listener ended", "event", "http_failed", "listen", addr, "err", err)
			}
		})
	}
}

// run ends the servers with ctx.
func (l *listeners) run(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	for _, s := range l.servers {
		s.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
	return nil
}
