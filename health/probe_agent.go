package health

import (
	"context"
	"errors"
	"io"
)

const maxAgentAnswer = 1 << 10

func newAgentProber(s Spec) Prober {
	st := newStream(s, false)
	return proberFunc(func(ctx context.Context) (rep Report, err error) {
		c, done, err := st.open(ctx, &rep)
		if err != nil {
			return rep, err
		}
		defer done()
		if s.Agent.Send != "" {
			if _, err := io.WriteString(c, s.Agent.Send); err != nil {
				return rep, err
			}
		}
		line, err := newLineReader(c, maxAgentAnswer).next()
		switch {
		case err == nil, errors.Is(err, io.EOF) && line != "": // the end of the connection ends the line too
		case errors.Is(err, io.EOF):
			return rep, &Failure{ReasonProtocol, "closed without an answer"}
		default:
			return rep, err
		}
		a, f := parseAgent([]byte(line))
		rep.Advice = a
		return rep, orNil(f)
	})
}
