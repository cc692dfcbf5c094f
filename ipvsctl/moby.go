package ipvsctl

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/moby/ipvs"
)

// moby writes services and timeouts with moby/ipvs, one at a time.
//
// The library waits for ever for an answer that was lost, so each call runs in
// a goroutine of its own, and a handle whose call is late is closed and given
// up; closing it ends that goroutine. It would panic on an answer without
// content, and takes the family for 0 on a kernel without IPVS, where every
// write then succeeds; so it is used only where we have found the family
// ourselves, and only while the number that it keeps for the life of the
// process is the right one.
type moby struct {
	netns string
	h     *ipvs.Handle
}

// mobyFamily is the family number that moby/ipvs keeps, 0 if we do not know it.
var mobyFamily struct {
	sync.Mutex
	asked bool
	id    uint16
}

// usable says whether moby/ipvs would send to this family. The first call in a
// process makes it look the number up (and run modprobe, once).
func (m *moby) usable(c *conn) bool {
	mobyFamily.Lock()
	defer mobyFamily.Unlock()
	if !mobyFamily.asked {
		h, err := ipvs.New(m.netns)
		if err != nil {
			return false
		}
		m.close()
		m.h = h
		mobyFamily.asked = true
		// The module was not exchanged meanwhile if the number is the same before and after.
		if id, err := c.resolve(); err == nil && id == c.family {
			mobyFamily.id = id
		}
	}
	return mobyFamily.id == c.family
}

func (m *moby) close() {
	if m.h != nil {
		m.h.Close()
		m.h = nil
	}
}

// call runs f with a handle, for at most the time given.
func (m *moby) call(ctx context.Context, timeout time.Duration, f func(*ipvs.Handle) error) error {
	if m.h == nil {
		h, err := ipvs.New(m.netns)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTransport, err)
		}
		m.h = h
	}
	h := m.h
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("%w: %w (%v)", ErrTransport, errMalformed, p)
			}
		}()
		done <- f(h)
	}()
	late := time.NewTimer(timeout)
	defer late.Stop()
	var err error
	select {
	case err = <-done:
		if err == nil || isAnswer(err) {
			return err
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-late.C:
		err = context.DeadlineExceeded
	}
	m.close()
	return fmt.Errorf("%w: %w", ErrTransport, err)
}

func (m *moby) service(ctx context.Context, timeout time.Duration, o Op) error {
	s := mobyService(o.Service)
	return m.call(ctx, timeout, func(h *ipvs.Handle) error {
		switch o.Kind {
		case AddService:
			return h.NewService(s)
		case SetService:
			return h.UpdateService(s)
		case DeleteService:
			return h.DelService(s)
		case AddServer, SetServer, DeleteServer, StartDaemon, StopDaemon, SetTimeouts:
		}
		return fmt.Errorf("%w: %v is no change of a service", errMalformed, o.Kind)
	})
}

// mobyService turns a service into the library's: the netmask is the word as
// it lies in memory, the hashed flag is the kernel's.
func mobyService(s Service) *ipvs.Service {
	out := &ipvs.Service{
		AddressFamily: afOf(s.Key.Family), FWMark: s.Key.FWMark,
		SchedName: s.Scheduler, PEName: s.PEName, Flags: uint32(s.Flags),
		Timeout: uint32(s.Timeout / time.Second), Netmask: netmask(s),
	}
	if s.Key.FWMark == 0 {
		out.Protocol, out.Port = uint16(s.Key.Protocol), s.Key.Port
		out.Address = net.IP(s.Key.Addr.AsSlice())
	}
	return out
}

func (m *moby) timeouts(ctx context.Context, timeout time.Duration) (Timeouts, error) {
	answer := make(chan Timeouts, 1)
	err := m.call(ctx, timeout, func(h *ipvs.Handle) error {
		c, err := h.GetConfig()
		if err == nil {
			answer <- Timeouts{c.TimeoutTCP, c.TimeoutTCPFin, c.TimeoutUDP}
		}
		return err
	})
	if err != nil {
		return Timeouts{}, err
	}
	return <-answer, nil
}

func (m *moby) setTimeouts(ctx context.Context, timeout time.Duration, t Timeouts) error {
	return m.call(ctx, timeout, func(h *ipvs.Handle) error {
		return h.SetConfig(&ipvs.Config{TimeoutTCP: t.TCP, TimeoutTCPFin: t.TCPFin, TimeoutUDP: t.UDP})
	})
}
