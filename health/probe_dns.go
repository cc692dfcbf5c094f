package health

import (
	"context"
	"encoding/binary"
	"fmt"
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

// judge holds a datagram against what is expected. One that answers another
// query than id is not for us: the answer to an earlier probe, or somebody
// else's guess.
func (q *dnsQuery) judge(id uint16, b []byte) (f *Failure, ours bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil {
		return &Failure{ReasonProtocol, "not DNS: " + printable(err.Error())}, true
	}
	if h.ID != id {
		return nil, false
	}
	if !h.Response {
		return &Failure{ReasonProtocol, "the query came back, not an answer"}, true
	}
	if h.RCode != q.rcode {
		return &Failure{ReasonStatus, "response code " + rcodeText(h.RCode)}, true
	}
	qs, err := p.AllQuestions()
	switch {
	case err != nil:
		return &Failure{ReasonProtocol, "bad question section: " + printable(err.Error())}, true
	case len(qs) != 1 || qs[0].Type != q.question.Type || qs[0].Class != q.question.Class || !strings.EqualFold(qs[0].Name.String(), q.question.Name.String()):
		return &Failure{ReasonProtocol, "an answer to another question"}, true
	}
	if q.expect == "" {
		return nil, true
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
			return nil, true
		}
	}
	why := fmt.Sprintf("%d answers, none is %.40q", answers, q.expect)
	if h.Truncated {
		why += " (truncated)"
	}
	return &Failure{ReasonBody, why}, true
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
	d := newDialer(s, "udp")
	return proberFunc(func(ctx context.Context) (Report, error) {
		c, done, err := d.open(ctx)
		if err != nil {
			return Report{}, err
		}
		defer done()
		id := uint16(rand.Uint32())
		packet := append([]byte(nil), q.packet...)
		binary.BigEndian.PutUint16(packet, id)
		if _, err := c.Write(packet); err != nil {
			return Report{}, err
		}
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return Report{}, err
			}
			if f, ours := q.judge(id, buf[:n]); ours {
				return Report{}, orNil(f)
			}
		}
	})
}
