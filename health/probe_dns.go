package health

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

var dnsTypes = map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME,
	"MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR, "SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT}

// dnsRCodes of RFC 1035 4.1.1.
var dnsRCodes = []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

// dnsQuery is a query made ready once.
type dnsQuery struct {
	packet   []byte // its ID is set for each probe
	question dnsmessage.Question
	rcode    dnsmessage.RCode
	expect   string // "" for none
}

func newDNSQuery(o DNSOptions) (*dnsQuery, error) {
	name := strings.TrimSuffix(o.Query, ".") + "."
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, fmt.Errorf("query %q: %w", o.Query, err)
	}
	typ, ok := dnsTypes[o.queryType()]
	if !ok {
		return nil, fmt.Errorf("query type %q", o.QueryType)
	}
	q := &dnsQuery{question: dnsmessage.Question{Name: n, Type: typ, Class: dnsmessage.ClassINET}, rcode: 0xffff}
	for i, r := range dnsRCodes {
		if r == o.rcode() {
			q.rcode = dnsmessage.RCode(i)
		}
	}
	if q.rcode == 0xffff {
		return nil, fmt.Errorf("response code %q", o.RCode)
	}
	if q.expect = o.Expect; typ == dnsmessage.TypeA || typ == dnsmessage.TypeAAAA {
		if a, err := netip.ParseAddr(o.Expect); err == nil {
			q.expect = a.String()
		}
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{RecursionDesired: true}, Questions: []dnsmessage.Question{q.question}}
	if q.packet, err = m.Pack(); err != nil {
		return nil, fmt.Errorf("query %q: %w", o.Query, err)
	}
	return q, nil
}

// judge holds a message against what is expected. One that answers another
// query than id is not for us: the answer to an earlier probe, or somebody
// else's guess. A failure may be cut: what is missing did not fit into the
// datagram, and the server says that there is more over TCP.
func (q *dnsQuery) judge(id uint16, b []byte) (f *Failure, ours, cut bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err == nil && h.ID != id {
		return nil, false, false
	}
	f, cut = q.judgeOurs(&p, h, err)
	return f, true, cut && h.Truncated
}

func (q *dnsQuery) judgeOurs(p *dnsmessage.Parser, h dnsmessage.Header, err error) (f *Failure, cut bool) {
	if err != nil {
		return &Failure{ReasonProtocol, "not DNS: " + printable(err.Error())}, false
	}
	if !h.Response {
		return &Failure{ReasonProtocol, "the query came back, not an answer"}, false
	}
	if h.RCode != q.rcode {
		return &Failure{ReasonStatus, "response code " + rcodeText(h.RCode)}, false
	}
	qs, err := p.AllQuestions()
	switch {
	case err != nil:
		return &Failure{ReasonProtocol, "bad question section: " + printable(err.Error())}, false
	case len(qs) != 1 || qs[0].Type != q.question.Type || qs[0].Class != q.question.Class || !strings.EqualFold(qs[0].Name.String(), q.question.Name.String()):
		return &Failure{ReasonProtocol, "an answer to another question"}, false
	}
	if q.expect == "" {
		return nil, false
	}
	answers := 0
	for {
		r, err := p.Answer()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return &Failure{ReasonProtocol, "bad answer section: " + printable(err.Error())}, true
		}
		if r.Header.Type != q.question.Type {
			continue
		}
		answers++
		if got := recordText(r.Body); strings.EqualFold(strings.TrimSuffix(got, "."), strings.TrimSuffix(q.expect, ".")) {
			return nil, false
		}
	}
	return &Failure{ReasonBody, fmt.Sprintf("%d answers, none is %.40q", answers, q.expect)}, true
}

func rcodeText(r dnsmessage.RCode) string {
	if int(r) < len(dnsRCodes) {
		return dnsRCodes[r]
	}
	return strconv.Itoa(int(r))
}

// recordText is the data of a record as people write it.
func recordText(b dnsmessage.ResourceBody) string {
	switch b := b.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA).String()
	case *dnsmessage.CNAMEResource:
		return b.CNAME.String()
	case *dnsmessage.NSResource:
		return b.NS.String()
	case *dnsmessage.PTRResource:
		return b.PTR.String()
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%d %s", b.Pref, b.MX.String())
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%d %d %d %s", b.Priority, b.Weight, b.Port, b.Target.String())
	case *dnsmessage.SOAResource:
		return b.NS.String()
	case *dnsmessage.TXTResource:
		return strings.Join(b.TXT, "")
	}
	return ""
}

func newDNSProber(s Spec) Prober {
	q, err := newDNSQuery(s.DNS)
	if err != nil {
		return failing(&Failure{ReasonInternal, err.Error()})
	}
	d, stream := newDialer(s, "udp"), newDialer(s, "tcp")
	return proberFunc(func(ctx context.Context) (Report, error) {
		id := uint16(rand.Uint32())
		f, cut, err := q.ask(ctx, &d, id)
		if err != nil || !cut {
			return Report{}, orFailure(f, err)
		}
		f, err = q.askStream(ctx, &stream, id)
		if err != nil {
			if f = failureOf(ctx, err); f.Reason != ReasonTimeout {
				f = &Failure{f.Reason, "truncated over UDP, and over TCP: " + f.Detail}
			}
		}
		return Report{}, orNil(f)
	})
}

func orFailure(f *Failure, err error) error {
	if err != nil {
		return err
	}
	return orNil(f)
}

// message is the query with an ID, after room for its length.
func (q *dnsQuery) message(id uint16) []byte {
	m := append(binary.BigEndian.AppendUint16(nil, uint16(len(q.packet))), q.packet...)
	binary.BigEndian.PutUint16(m[2:], id)
	return m
}

func (q *dnsQuery) ask(ctx context.Context, d *dialer, id uint16) (f *Failure, cut bool, err error) {
	c, done, err := d.open(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	if _, err := c.Write(q.message(id)[2:]); err != nil {
		return nil, false, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, false, err
		}
		if f, ours, cut := q.judge(id, buf[:n]); ours {
			return f, cut, nil
		}
	}
}

// askStream asks over TCP (RFC 7766): each message follows its length.
func (q *dnsQuery) askStream(ctx context.Context, d *dialer, id uint16) (*Failure, error) {
	c, done, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := c.Write(q.message(id)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	for {
		var n [2]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return nil, early(err, "before the answer was complete")
		}
		b := make([]byte, binary.BigEndian.Uint16(n[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, early(err, "before the answer was complete")
		}
		if f, ours, _ := q.judge(id, b); ours {
			return f, nil
		}
	}
}
