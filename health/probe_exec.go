package health

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"lvs-ha/internal/command"
)

// execSlots bounds the programs that run at a time.
var execSlots = make(slots, 64)

func newExecProber(s Spec) Prober {
	cmd := command.Command{Argv: s.Exec.Command, Env: []string{
		"LVS_HA_CHECK_ADDRESS=" + s.Target.Addr().Unmap().String(),
		"LVS_HA_CHECK_PORT=" + strconv.Itoa(int(s.Target.Port()))}}
	if s.Exec.User != "" {
		as, err := command.Lookup(s.Exec.User)
		if err != nil {
			return failing(&Failure{ReasonInternal, err.Error()})
		}
		cmd.As = as
	}
	byCode := s.Exec.WeightFromCode
	return proberFunc(func(ctx context.Context) (Report, error) {
		if err := execSlots.take(ctx); err != nil {
			return Report{}, err
		}
		defer execSlots.give()
		res, err := cmd.Run(ctx)
		switch {
		case ctx.Err() != nil:
			return Report{}, ctx.Err()
		case err != nil:
			return Report{}, &Failure{ReasonInternal, err.Error()}
		}
		return execJudge(res, byCode)
	})
}

// execJudge is the meaning of how a program ended.
func execJudge(res command.Result, byCode bool) (Report, error) {
	switch {
	case res.Signal != 0:
		return Report{}, &Failure{ReasonExec, "ended by signal: " + res.Signal.String()}
	case res.Code == 0:
		return Report{}, nil
	case byCode && res.Code >= 2 && res.Code <= 255:
		return Report{Advice: Advice{AdviseWeight, uint32(res.Code - 2)}}, nil
	}
	why := fmt.Sprintf("exit status %d", res.Code)
	if text := printable(string(res.Output)); text != "" {
		why += ": " + text
	}
	return Report{}, &Failure{ReasonExec, why}
}

// Preflights tells whether a check of this type needs something of this
// machine, so that Preflight has something to look at.
func (t Type) Preflights() bool {
	switch t {
	case Exec, HTTPS, TLS, SMTP, GRPC:
		return true
	case TCP, HTTP, UDP, DNS, ICMP, File, Agent:
	}
	return false
}

// Preflight tells what of a check this machine cannot do at all, with the
// cure. The error is that of a configuration: the check would never have a
// verdict.
func (s Spec) Preflight() error {
	switch s.Type {
	case Exec:
		if err := command.Executable(s.Exec.Command); err != nil {
			return err
		}
		if s.Exec.User != "" {
			_, err := command.Lookup(s.Exec.User)
			return err
		}
	case HTTPS, TLS, SMTP, GRPC:
		if s.Type == HTTPS || s.Type == TLS || s.TLS.On || s.SMTP.StartTLS {
			if _, err := newTLSClient(s).files.prepare(); err != nil {
				var f *Failure
				if errors.As(err, &f) {
					return errors.New(f.Detail)
				}
				return err
			}
		}
	case TCP, HTTP, UDP, DNS, ICMP, File, Agent:
	}
	return nil
}
