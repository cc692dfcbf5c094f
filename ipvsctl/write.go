package ipvsctl

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Apply makes changes in order. Servers and daemons go many in one message,
// services and timeouts one by one.
func (k *ipvsKernel) Apply(ctx context.Context, ops []Op) []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := make([]error, len(ops))
	k.batch = k.batch[:0]
	for i, o := range ops {
		if errs[i] = check(o); errs[i] != nil {
			continue
		}
		var err error
		switch o.Kind {
		case AddServer, SetServer, DeleteServer, StartDaemon, StopDaemon:
			if k.batch = append(k.batch, i); len(k.batch) == batchSize {
				err = k.flush(ctx, ops, errs)
			}
		case AddService, SetService, DeleteService, SetTimeouts:
			if err = k.flush(ctx, ops, errs); err == nil {
				err = k.single(ctx, o)
				errs[i] = err
				if err != nil && isAnswer(err) {
					err = nil
				}
			}
		default:
			errs[i] = unix.EINVAL
		}
		if err != nil {
			return lost(errs, i, k.batch, err)
		}
	}
	if err := k.flush(ctx, ops, errs); err != nil {
		return lost(errs, len(ops)-1, k.batch, err)
	}
	return errs
}

// lost puts the error on what was under way, and on what was not sent.
func lost(errs []error, from int, batch []int, err error) []error {
	for _, i := range batch {
		errs[i] = err
	}
	for i := from; i < len(errs); i++ {
		errs[i] = err
	}
	return errs
}

// check refuses what cannot be said to the kernel.
func check(o Op) error {
	switch o.Kind {
	case AddService, SetService, DeleteService:
		return checkService(o.Service)
	case AddServer, SetServer, DeleteServer:
		if err := checkService(Service{Key: o.Service.Key}); err != nil {
			return err
		}
		return checkServer(o.Server)
	case StartDaemon, StopDaemon:
		return checkDaemon(o.Daemon)
	case SetTimeouts:
		for _, d := range []time.Duration{o.Timeouts.TCP, o.Timeouts.TCPFin, o.Timeouts.UDP} {
			if d < 0 || d/time.Second > 1<<31-1 {
				return unix.EINVAL
			}
		}
	}
	return nil
}

// flush sends the batch. Its error is one of the way, not an answer.
func (k *ipvsKernel) flush(ctx context.Context, ops []Op, errs []error) error {
	if len(k.batch) == 0 {
		return nil
	}
	answers := make([]error, len(k.batch))
	err := k.with(ctx, func(c *conn) error {
		clear(answers)
		err := c.batch(len(k.batch), func(i int, e *encoder) uint8 { return request(ops[k.batch[i]], e) }, answers)
		if err != nil {
			return err
		}
		for _, err := range answers {
			// Let with look whether this is the missing server or the missing family.
			if errors.Is(err, unix.ENOENT) {
				return err
			}
			if errors.Is(err, unix.EPERM) {
				return err
			}
		}
		return nil
	})
	if err != nil && !isAnswer(err) {
		return err
	}
	for n, i := range k.batch {
		errs[i] = answers[n]
	}
	k.batch = k.batch[:0]
	return nil
}

// request encodes one change of a server or daemon.
func request(o Op, e *encoder) uint8 {
	switch o.Kind {
	case AddServer, SetServer:
		e.serviceKey(o.Service.Key)
		e.server(o.Server, true)
		if o.Kind == AddServer {
			return cmdNewDest
		}
		return cmdSetDest
	case DeleteServer:
		e.serviceKey(o.Service.Key)
		e.server(o.Server, false)
		return cmdDelDest
	case StartDaemon:
		e.daemon(o.Daemon)
		return cmdNewDaemon
	case StopDaemon:
		e.daemon(o.Daemon)
		return cmdDelDaemon
	case AddService, SetService:
		e.service(o.Service)
		if o.Kind == AddService {
			return cmdNewService
		}
		return cmdSetService
	case DeleteService:
		e.serviceKey(o.Service.Key)
		return cmdDelService
	case SetTimeouts:
		for i, d := range []time.Duration{o.Timeouts.TCP, o.Timeouts.TCPFin, o.Timeouts.UDP} {
			if s := uint32(d / time.Second); s != 0 {
				e.u32(attrTimeoutTCP+uint16(i), s)
			}
		}
		return cmdSetConfig
	}
	return 0
}

// single makes a change of a service or of the timeouts. Where moby/ipvs
// cannot be used (see moby), the request is our own.
func (k *ipvsKernel) single(ctx context.Context, o Op) error {
	o.Service = o.Service.Canonical()
	if k.losesScheduler(ctx, o) {
		defer k.hold(o.Service.Key)()
	}
	return k.with(ctx, func(c *conn) error {
		switch {
		case !k.moby.usable(c):
			answer := make([]error, 1)
			if err := c.batch(1, func(_ int, e *encoder) uint8 { return request(o, e) }, answer); err != nil {
				return err
			}
			return answer[0]
		case o.Kind == SetTimeouts:
			return k.moby.setTimeouts(ctx, k.timeout, o.Timeouts)
		}
		return k.moby.service(ctx, k.timeout, o)
	})
}

// losesScheduler tells whether the service will have no scheduler for a while,
// and somebody wants to know. What cannot be read is for the change to report.
func (k *ipvsKernel) losesScheduler(ctx context.Context, o Op) bool {
	if k.hold == nil || o.Kind != SetService {
		return false
	}
	var have Service
	err := k.with(ctx, func(c *conn) (err error) {
		have, err = getService(c, o.Service.Key)
		return err
	})
	return err == nil && have.Scheduler != o.Service.Scheduler
}
