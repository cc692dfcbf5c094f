package director

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"lvs-ha/conf"
	"lvs-ha/health"
	"lvs-ha/ipvsctl"
	"lvs-ha/ipvsctl/ipvsctltest"
)

// many is a configuration of n servers, a hundred to a service.
func many(n int) *conf.Config { return farm(n, 100) }

// farm is a configuration of n servers, so many to a service.
func farm(n, each int) *conf.Config {
	c := config()
	for i := 0; i < n; i += each {
		s := service(fmt.Sprint("s", i), vip, ipvsctl.TCP)
		s.Service.Key.Port = uint16(1000 + i/each)
		s.StartUp = true
		for j := i; j < min(n, i+each); j++ {
			a := fmt.Sprintf("10.8.%d.%d", j/250, j%250+1)
			srv := service("x", vip, ipvsctl.TCP, a).Servers[0]
			srv.Name = fmt.Sprint("r", j)
			s.Servers = append(s.Servers, srv)
		}
		c.Services = append(c.Services, s)
	}
	return c
}

// BenchmarkReload is a reload that adds one server to 5000, without reading the file.
func BenchmarkReload(b *testing.B) {
	next := many(5000)
	checks := health.NewScheduler(health.Options{})
	d := New(Options{
		Load:       func() (*conf.Config, error) { return next, nil },
		OpenKernel: func() (ipvsctl.Kernel, error) { return ipvsctltest.NewFake(), nil },
		Speaker:    &fakeSpeaker{}, Checks: checks, StateDir: b.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := d.Start(ctx, next); err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	n := 5000
	for b.Loop() {
		n = 10001 - n // 5001, 5000, 5001 …
		next = many(n)
		b.StopTimer()
		b.StartTimer()
		if err := d.Reload(ctx); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-done
}
