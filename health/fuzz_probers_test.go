package health

import (
	"bytes"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func FuzzDNS(f *testing.F) {
	q, err := newDNSQuery(DNSOptions{Query: "a.example", Expect: "192.0.2.1"})
	if err != nil {
		f.Fatal(err)
	}
	var m dnsmessage.Message
	_ = m.Unpack(q.packet)
	m.Response = true
	m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
	good, _ := m.Pack()
	if f1, ours, _ := q.judge(0, good); f1 != nil || !ours {
		f.Fatal(f1, ours)
	}
	f.Add(good)
	f.Add(q.packet)
	f.Add([]byte{0, 0, 0x80})
	m.Truncated, m.Answers = true, nil
	short, _ := m.Pack()
	f.Add(short)
	f.Fuzz(func(t *testing.T, b []byte) {
		fail, ours, cut := q.judge(0, b)
		if cut && (fail == nil || !ours || b[2]&2 == 0) {
			t.Error("more to come, but not by what the server said")
		}
		if fail == nil && ours && !bytes.Contains(b, []byte{192, 0, 2, 1}) {
			t.Errorf("passed without the data: %x", b)
		}
		if fail != nil && !ours {
			t.Error("a failure of somebody else")
		}
	})
}

func FuzzSMTP(f *testing.F) {
	f.Add([]byte("220 hi\r\n"))
	f.Add([]byte("250-a\r\n250-b\n250 c\r\n"))
	f.Add([]byte("220-a\r\n221 b\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		code, _, err := smtpReply(newLineReader(bytes.NewReader(b), 1000))
		if err == nil && (code < 200 || code > 599 || len(b) < 4) {
			t.Errorf("code %d of %q", code, b)
		}
	})
}

func FuzzAgent(f *testing.F) {
	for _, s := range []string{"75%", "up", "drain maint", "down#why", "maxconn:3 1%"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, fail := parseAgent(b)
		if fail != nil && a != (Advice{}) {
			t.Error("advice of a failure")
		}
		if w := a.Weight(100); w > 1000 {
			t.Errorf("weight %d of %q", w, b)
		}
	})
}

func FuzzWeight(f *testing.F) {
	f.Add([]byte("50"))
	f.Add([]byte(" 7% \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := parseWeight(b)
		if !ok && a != (Advice{}) || ok && a.Kind != AdviseWeight && a.Kind != AdvisePercent || a.Weight(65535) > 65535 {
			t.Errorf("%v of %q", a, b)
		}
	})
}

func FuzzGRPC(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 8, 1})
	f.Add(grpcRequest("a"))
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		status, fail := grpcStatus(b)
		if fail == nil && (b[0] != 0 || len(b) < 5) {
			t.Errorf("status %d of %x", status, b)
		}
		_ = grpcJudge("0", "", b)
	})
}

func FuzzEcho(f *testing.F) {
	e := &echo{tok: [16]byte{1, 2, 3}, raw: true}
	f.Add(e.packet())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range []*echo{{tok: e.tok}, {tok: e.tok, raw: true}, {tok: e.tok, v6: true}} {
			if e.answers(b) && !bytes.Contains(b, e.tok[:]) {
				t.Errorf("answered by %x", b)
			}
		}
	})
}
