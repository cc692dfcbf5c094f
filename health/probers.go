package health

import "context"

// proberFor makes the prober of a check whose type the engine does not run
// itself.
func proberFor(s Spec) Prober {
	switch s.Type {
	case HTTPS:
		return newHTTPSProber(s)
	case TLS:
		return newTLSProber(s)
	case DNS:
		return newDNSProber(s)
	case ICMP:
		return newICMPProber(s)
	case SMTP:
		return newSMTPProber(s)
	case GRPC:
		return newGRPCProber(s)
	case Exec:
		return newExecProber(s)
	case File:
		return newFileProber(s)
	case Agent:
		return newAgentProber(s)
	case TCP, HTTP, UDP: // the engine's own
	}
	return failing(&Failure{ReasonInternal, "no prober for type " + string(s.Type)})
}

// failing is the prober of a check that cannot be run.
func failing(f *Failure) Prober {
	return proberFunc(func(context.Context) (Report, error) { return Report{}, f })
}
