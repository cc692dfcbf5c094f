package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvs-ha/internal/sysctl"
)

// Host is one machine of the lab: a network namespace.
type Host struct {
	// Name within the lab, as "lvs1"; Namespace is its name for ip-netns(8).
	Name      string
	Namespace string

	ns  netns.NsHandle
	nl  *netlink.Handle
	lab *Lab

	mu   sync.Mutex
	proc map[string]*os.File // open files of /proc/net, by name
	read bytes.Buffer        // of readNet
}

// newHost makes the namespace.
func (l *Lab) newHost(name string) (*Host, error) {
	h := &Host{Name: name, Namespace: l.prefix() + name, lab: l, ns: netns.None()}
	err := onThread(func() error {
		before, err := netns.Get()
		if err != nil {
			return err
		}
		defer before.Close()
		h.ns, err = netns.NewNamed(h.Namespace)
		return errors.Join(err, netns.Set(before))
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make the network namespace %s: %w", h.Namespace, err)
	}
	l.hosts = append(l.hosts, h)
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("cannot open rtnetlink in %s: %w", h.Namespace, err)
	}
	lo, err := h.nl.LinkByName("lo")
	if err == nil {
		err = h.nl.LinkSetUp(lo)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot bring lo up: %w", name, err)
	}
	return h, h.SetSysctls(map[string]string{
		"net/ipv6/conf/all/disable_ipv6":  "1",
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/default/rp_filter": "0",
	})
}

// onThread runs fn on a thread of its own that is thrown away unless fn left
// it as it was, which fn says by returning nil.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := fn()
		if err == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Do runs fn in the namespace of the host. Sockets that fn opens stay in it.
// fn must return (no t.Fatal in it) and must not start goroutines.
func (h *Host) Do(fn func() error) error {
	var ferr error
	err := onThread(func() error {
		before, err := netns.Get()
		if err != nil {
			return err
		}
		defer before.Close()
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("cannot enter %s: %w", h.Namespace, err)
		}
		ferr = fn()
		return netns.Set(before)
	})
	return errors.Join(ferr, err)
}

// SetSysctls writes settings, by their path below /proc/sys.
func (h *Host) SetSysctls(kv map[string]string) error {
	return h.Do(func() error {
		for k, v := range kv {
			err := sysctl.Write(k, v)
			// A kernel without IPv6 has nothing to switch off.
			if errors.Is(err, os.ErrNotExist) && v == "1" && k == "net/ipv6/conf/all/disable_ipv6" {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: sysctl %s = %s: %w", h.Name, k, v, err)
			}
		}
		return nil
	})
}

// readNet reads a file of /proc/net as the host sees it. The file stays open:
// it belongs to the namespace it was opened in, so reading it again costs no
// change of namespace.
func (h *Host) readNet(name string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.proc[name]
	if f == nil {
		if err := h.Do(func() (err error) {
			f, err = os.Open("/proc/thread-self/net/" + name)
			return err
		}); err != nil {
			return nil, err
		}
		if h.proc == nil {
			h.proc = map[string]*os.File{}
		}
		h.proc[name] = f
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// A listing of IPVS that is read in pieces can lose services between them
	// where several namespaces have some: ask for more than the page that the
	// kernel gives at once.
	h.read.Reset()
	h.read.Grow(16 << 10)
	_, err := h.read.ReadFrom(f)
	return bytes.Clone(h.read.Bytes()), err
}

// DialContext connects from the host.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		// Addresses are literal here, so the socket is made on this very thread.
		conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// HTTPClient asks from the host; each request on a connection of its own.
func (h *Host) HTTPClient() *http.Client {
	return &http.Client{
		Timeout:       5 * time.Second,
		Transport:     &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// close gives the namespace back.
func (h *Host) close() error {
	if h.nl != nil {
		h.nl.Close()
	}
	for _, f := range h.proc {
		f.Close()
	}
	return errors.Join(h.ns.Close(), netns.DeleteNamed(h.Namespace))
}
