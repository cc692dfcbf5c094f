package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lvs-ha/internal/director"
	"lvs-ha/internal/fresh"
	"lvs-ha/vrrp"
)

const (
	// refreshLimit bounds how long a scrape waits for newer figures.
	refreshLimit = 1900 * time.Millisecond
	// scrapesAtOnce bounds the memory that scrapes take; more get 503.
	scrapesAtOnce = 4
)

// Source of snapshots; *director.Director is one.
type Source = fresh.Source

// Build identifies the binary.
type Build struct{ Version, Revision, GoVersion string }

// Handler serves /metrics, /healthz, /readyz and /role/NAME. It starts no
// goroutine of its own.
type Handler struct {
	mux      *http.ServeMux
	reader   *fresh.Reader
	registry *prometheus.Registry
}

// New makes a handler over src. Errors of single series go to the default
// slog logger; the other series are served all the same.
func New(src Source, b Build) *Handler {
	h := &Handler{mux: http.NewServeMux(), reader: fresh.NewReader(src, refreshLimit), registry: prometheus.NewRegistry()}
	h.registry.MustRegister(
		newCollector(h.reader, b),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	h.mux.Handle("GET /metrics", promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{
		ErrorLog:            scrapeErrors{},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapesAtOnce,
	}))
	h.mux.HandleFunc("GET /healthz", h.healthz)
	h.mux.HandleFunc("GET /readyz", h.readyz)
	h.mux.HandleFunc("GET /role/{instance}", h.role)
	h.mux.HandleFunc("GET /{$}", index)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// NewServer makes a server for handler with bounds against slow and
// oversized requests. Each connection costs a goroutine until a bound is reached.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

type scrapeErrors struct{}

func (scrapeErrors) Println(v ...any) {
	slog.Debug("metrics: a series cannot be shown", "err", strings.TrimSpace(fmt.Sprintln(v...)))
}

func index(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, "lvs-ha\n\n/metrics\n/healthz\n/readyz\n/role/<vrrp-instance>")
}

// healthz tells that the process answers. It asks nobody: whoever restarts
// the process on a failure must not do so because the kernel is slow.
func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, "ok")
}

// readyz tells whether this director is fit to take over.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	if why := unready(h.reader.Read(r.Context())); len(why) > 0 {
		answer(w, http.StatusServiceUnavailable, "not ready: "+strings.Join(why, "; "))
		return
	}
	answer(w, http.StatusOK, "ready")
}

// unready lists what is missing, nothing when the director is ready.
func unready(s *director.Snapshot) []string {
	if s == nil {
		return []string{"starting"}
	}
	var why []string
	if s.Speaker == nil {
		why = append(why, "the speaker has not answered yet")
	}
	if s.Kernel.Used && !s.Kernel.Up {
		why = append(why, "the kernel's IPVS table cannot be read")
	}
	if !s.Ready {
		why = append(why, "not every service is judged and applied yet")
	}
	return why
}

// role answers 200 while this node is master of the named instance.
func (h *Handler) role(w http.ResponseWriter, r *http.Request) {
	s := h.reader.Read(r.Context())
	if s == nil || s.Speaker == nil {
		answer(w, http.StatusServiceUnavailable, "unknown: the speaker has not answered yet")
		return
	}
	name := r.PathValue("instance")
	for i := range s.Speaker.Instances {
		inst := &s.Speaker.Instances[i]
		if inst.Name != name {
			continue
		}
		code := http.StatusServiceUnavailable
		if inst.State == vrrp.Master {
			code = http.StatusOK
		}
		answer(w, code, inst.State.String())
		return
	}
	answer(w, http.StatusNotFound, "no such VRRP instance")
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
