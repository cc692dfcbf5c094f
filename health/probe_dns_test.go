package health

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsTruncating answers over UDP with what fits, which is nothing or the first
// of two addresses, and over TCP by serve; nil does not listen there.
func dnsTruncating(t *testing.T, first bool, serve func(c *net.TCPConn, q dnsmessage.Message, whole []byte)) (Spec, func() int) {
	reply := func(q dnsmessage.Message, cut bool, hosts ...byte) []byte {
		q.Response, q.Truncated = true, cut
		for _, h := range hosts {
			q.Answers = append(q.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET},
				Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, h}}})
		}
		b, err := q.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	to := dnsServer(t, func(q dnsmessage.Message, _ []byte) [][]byte {
		if first {
			return [][]byte{reply(q, true, 1)}
		}
		return [][]byte{reply(q, true)}
	})
	asked := make(chan struct{}, 10)
	if serve != nil {
		serverAt(t, to, func(c *net.TCPConn) {
			asked <- struct{}{}
			var n [2]byte
			if _, err := io.ReadFull(c, n[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(n[:]))
			var q dnsmessage.Message
			if _, err := io.ReadFull(c, b); err != nil || q.Unpack(b) != nil {
				t.Errorf("query %x: %v", b, err)
				return
			}
			serve(c, q, reply(q, false, 1, 2))
		})
	}
	spec := Spec{Target: to, Method: &Method{Type: DNS, DNS: DNSOptions{Query: "a.example", Expect: "192.0.2.2"}}}
	return spec, func() int { return len(asked) }
}

func framed(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// What a datagram could not hold is asked for over TCP, within the same deadline.
func TestDNSTruncated(t *testing.T) {
	send := func(parts ...[]byte) func(*net.TCPConn, dnsmessage.Message, []byte) {
		return func(c *net.TCPConn, _ dnsmessage.Message, whole []byte) {
			for _, p := range parts {
				c.Write(p)
			}
			c.Close()
		}
	}
	for name, tc := range map[string]struct {
		serve func(*net.TCPConn, dnsmessage.Message, []byte)
		want  Reason
		text  string
	}{
		"whole":     {func(c *net.TCPConn, _ dnsmessage.Message, b []byte) { c.Write(framed(b)) }, "", ""},
		"in pieces": {func(c *net.TCPConn, _ dnsmessage.Message, b []byte) { c.Write(framed(b)[:1]); c.Write(framed(b)[1:]) }, "", ""},
		"after another's answer": {func(c *net.TCPConn, _ dnsmessage.Message, b []byte) {
			other := append([]byte(nil), b...)
			other[0]++
			c.Write(append(framed(other), framed(b)...))
		}, "", ""},
		"without the data": {func(c *net.TCPConn, q dnsmessage.Message, _ []byte) {
			q.Response, q.Truncated = true, true // a lie, over TCP
			b, _ := q.Pack()
			c.Write(framed(b))
		}, ReasonBody, "0 answers"},
		"cut off":      {func(c *net.TCPConn, _ dnsmessage.Message, b []byte) { c.Write(framed(b)[:9]); c.Close() }, ReasonProtocol, "over TCP: closed"},
		"closed":       {send(), ReasonProtocol, "over TCP: closed"},
		"not DNS":      {send([]byte("\x00\x06220 hi")), ReasonProtocol, "not DNS"},
		"empty":        {send([]byte{0, 0}), ReasonProtocol, "not DNS"},
		"silent":       {func(c *net.TCPConn, _ dnsmessage.Message, _ []byte) { hangs(c) }, ReasonTimeout, ""},
		"no TCP there": {nil, ReasonRefused, "over TCP"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := patience
			if tc.want == ReasonTimeout {
				limit = 100 * time.Millisecond
			}
			spec, _ := dnsTruncating(t, true, tc.serve)
			_, f := ask(t, spec, limit)
			wantReason(t, f, tc.want, tc.text)
		})
	}
	// What came is enough: the server need not be asked again.
	for _, o := range []DNSOptions{{Query: "a.example", Expect: "192.0.2.1"}, {Query: "a.example"}} {
		spec, asked := dnsTruncating(t, o.Expect != "", send())
		spec.DNS = o
		_, f := ask(t, spec, patience)
		wantReason(t, f, "", "")
		if asked() != 0 {
			t.Error("asked again for nothing", o)
		}
	}
}
