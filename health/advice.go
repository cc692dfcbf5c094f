package health

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AdviceKind says what a server that passes asks for. The set is closed.
type AdviceKind uint8

const (
	// NoAdvice: the configured weight.
	NoAdvice AdviceKind = iota
	// AdviseWeight: Value is the weight.
	AdviseWeight
	// AdvisePercent: Value is a percentage of the configured weight.
	AdvisePercent
	// AdviseDrain: no new clients, those that are there may stay.
	AdviseDrain
	// AdviseMaint: the server is under maintenance.
	AdviseMaint
)

// Advice is what a server asks for beyond being up. It is comparable; the
// zero value is none.
type Advice struct {
	Kind  AdviceKind
	Value uint32 // of AdviseWeight 0..65535, of AdvisePercent 0..1000; else 0
}

const (
	maxAdvisedWeight  = 65535
	maxAdvisedPercent = 1000
)

// Weight that follows from a configured one. A percentage above zero leaves at
// least 1 of a weight above zero.
func (a Advice) Weight(configured uint32) uint32 {
	switch a.Kind {
	case AdviseWeight:
		return a.Value
	case AdvisePercent:
		if configured == 0 || a.Value == 0 {
			return 0
		}
		w := (uint64(configured)*uint64(a.Value) + 50) / 100
		return uint32(min(max(w, 1), maxAdvisedWeight))
	case AdviseDrain, AdviseMaint:
		return 0
	default:
		return configured
	}
}

func (a Advice) String() string {
	switch a.Kind {
	case AdviseWeight:
		return "weight " + strconv.FormatUint(uint64(a.Value), 10)
	case AdvisePercent:
		return strconv.FormatUint(uint64(a.Value), 10) + "%"
	case AdviseDrain:
		return "drain"
	case AdviseMaint:
		return "maint"
	default:
		return ""
	}
}

// Report is what a probe tells beside its result.
type Report struct {
	Advice   Advice    // of one that passed
	NotAfter time.Time // when the server's certificate ends; zero if it showed none
}

// parseWeight reads a weight, "50", or a share of the configured one, "50%".
func parseWeight(b []byte) (Advice, bool) {
	s := strings.TrimSpace(string(b[:min(len(b), 32)]))
	kind, limit := AdviseWeight, uint64(maxAdvisedWeight)
	if p, ok := strings.CutSuffix(s, "%"); ok {
		s, kind, limit = p, AdvisePercent, maxAdvisedPercent
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > limit || s[0] == '+' || len(b) > 32 && strings.TrimSpace(string(b[32:])) != "" {
		return Advice{}, false
	}
	return Advice{kind, uint32(n)}, true
}

// parseAgent reads an answer of HAProxy's agent-check protocol (configuration
// manual, "agent-check"): words between blanks and commas, in any order, up to
// the end of the line; what follows # is for people. Of several words that
// take the server out the strongest counts. "maxconn:N" is left aside, "up"
// and "ready" ask for nothing.
func parseAgent(line []byte) (Advice, *Failure) {
	text := strings.TrimSpace(string(line))
	words, note, _ := strings.Cut(text, "#")
	var out, weight Advice
	var down string
	n := 0
	for _, w := range strings.FieldsFunc(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		n++
		switch l := strings.ToLower(w); {
		case l == "up" || l == "ready":
		case l == "down" || l == "fail" || l == "failed" || l == "stopped":
			down = l
		case l == "drain":
			if out.Kind != AdviseMaint {
				out = Advice{Kind: AdviseDrain}
			}
		case l == "maint":
			out = Advice{Kind: AdviseMaint}
		case strings.HasPrefix(l, "maxconn:"):
		default:
			a, ok := parseWeight([]byte(l))
			if !ok || a.Kind != AdvisePercent {
				return Advice{}, &Failure{ReasonProtocol, fmt.Sprintf("no word of an agent: %.40q", w)}
			}
			weight = a
		}
	}
	switch {
	case n == 0:
		return Advice{}, &Failure{ReasonProtocol, "an empty answer"}
	case down != "":
		if note = printable(note); note != "" {
			down += ": " + note
		}
		return Advice{}, &Failure{ReasonStatus, "the agent says " + down}
	case out.Kind != NoAdvice:
		return out, nil
	default:
		return weight, nil
	}
}

// printable is a text from outside cut to what a log line can hold.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.TrimSpace(s)
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
