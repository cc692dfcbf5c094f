package vrrptest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvs-ha/vrrp"
)

// RunScript runs a story and writes its transcript. A story has a line for each
// thing; # begins a comment:
//
//	version 2 | family 6 | interval 100ms        for the nodes that follow
//	group 2                                       likewise: each is a host with two
//	                                              instances, a1 and a2, in a sync group;
//	group 2 crossed                               the higher address on the one has the
//	                                              lower one on the other
//	node a priority 150 preempt no delay 5s start 1s interval 1s ready 2s
//	at 3s crash a                                 what an Op says, see OpKind
//	sends                                         show regular advertisements too
//	run 60s
//
// It gives the invariant that was broken, or "".
func RunScript(script string, w io.Writer) (string, error) {
	p := parser{base: vrrp.Config{
		VRID: 51, Version: vrrp.V3, Family: vrrp.IPv4, Priority: 100, Interval: time.Second, Preempt: true,
	}}
	for i, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := p.line(words); err != nil {
			return "", fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.run == 0 || len(p.nodes) == 0 {
		return "", fmt.Errorf("a story needs nodes and a run")
	}
	slices.SortStableFunc(p.ops, func(a, b Op) int { return int(a.At - b.At) })
	s := NewSegment()
	s.Reset(1, p.nodes)
	s.Log(w, p.sends)
	s.Plan(p.ops)
	s.Run(p.run)
	fmt.Fprintf(w, "%12v   %s\n", s.elapsed(), s.states())
	return s.Violation(), nil
}

type parser struct {
	base    vrrp.Config
	nodes   []NodeConfig
	ops     []Op
	lanes   int // of a sync group, 0 for none
	hosts   int
	crossed bool
	run     time.Duration
	sends   bool
}

func (p *parser) line(words []string) error {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	var err error
	switch words[0] {
	case "version":
		if arg(1) == "2" {
			p.base.Version = vrrp.V2
		}
	case "family":
		if arg(1) == "6" {
			p.base.Family = vrrp.IPv6
		}
	case "interval":
		p.base.Interval, err = time.ParseDuration(arg(1))
	case "group":
		p.crossed = arg(2) == "crossed"
		p.lanes, err = strconv.Atoi(arg(1))
		if err == nil && (p.lanes < 2 || p.lanes > MaxLanes) {
			err = fmt.Errorf("a group has two to %d instances", MaxLanes)
		}
	case "run":
		p.run, err = time.ParseDuration(arg(1))
	case "sends":
		p.sends = true
	case "node":
		err = p.node(arg(1), words[2:])
	case "at":
		var at time.Duration
		if at, err = time.ParseDuration(arg(1)); err == nil {
			err = p.op(at, arg(2), words[min(3, len(words)):])
		}
	default:
		err = fmt.Errorf("unknown word %q", words[0])
	}
	return err
}

func (p *parser) node(name string, options []string) error {
	if len(p.nodes)+max(p.lanes, 1) > MaxNodes || len(options)%2 != 0 {
		return fmt.Errorf("too many nodes, or an option without its value")
	}
	n := NodeConfig{Name: name, Config: p.base, Source: sources[p.base.Family][p.hosts], Host: p.hosts}
	n.Config.Addresses = addresses[p.base.Family][:1]
	for i := 0; i < len(options); i += 2 {
		var err error
		value := options[i+1]
		d, badDuration := time.ParseDuration(value)
		switch options[i] {
		case "priority":
			var x uint64
			x, err = strconv.ParseUint(value, 10, 8)
			n.Config.Priority = uint8(x)
		case "preempt":
			n.Config.Preempt = value == "yes"
		case "delay":
			n.Config.PreemptDelay, err = d, badDuration
		case "start":
			n.Config.StartDelay, err = d, badDuration
		case "interval":
			n.Config.Interval, err = d, badDuration
		case "ready":
			n.ReadyAfter, err = d, badDuration
		default:
			err = fmt.Errorf("unknown option %q", options[i])
		}
		if err != nil {
			return err
		}
	}
	p.hosts++
	if p.lanes == 0 {
		p.nodes = append(p.nodes, n)
		return nil
	}
	n.Config.Grouped = true
	for n.Lane = range p.lanes {
		n.Name = fmt.Sprint(name, n.Lane+1)
		if p.crossed && n.Lane > 0 {
			n.Source = sources[p.base.Family][MaxNodes-1-n.Host]
		}
		p.nodes = append(p.nodes, n)
	}
	return nil
}

// op is "KIND [NODE [PEER]] [VALUE]"; yes and no are flags, a number is N, a
// duration is For.
func (p *parser) op(at time.Duration, kind string, words []string) error {
	o := Op{At: at, Kind: OpKind(slices.Index(opNames[:], kind))}
	if !slices.Contains(opNames[:], kind) {
		return fmt.Errorf("unknown op %q", kind)
	}
	named := 0
	for _, word := range words {
		i := slices.IndexFunc(p.nodes, func(n NodeConfig) bool { return n.Name == word })
		d, badDuration := time.ParseDuration(word)
		x, badNumber := strconv.Atoi(word)
		switch {
		case i >= 0 && named == 0:
			o.Node = i
			named++
		case i >= 0:
			o.Peer = i
		case word == "yes" || word == "no" || word == "again":
			o.Flag = word != "no"
		case badNumber == nil:
			o.N = x
		case badDuration == nil:
			o.For = d
		default:
			return fmt.Errorf("cannot make sense of %q", word)
		}
	}
	p.ops = append(p.ops, o)
	return nil
}
