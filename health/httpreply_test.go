package health

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func judge(c *httpCheck, reply string, piece int) *Failure {
	var r httpReply
	for p := []byte(reply); len(p) > 0; {
		n := min(piece, len(p))
		if f, done := r.feed(c, p[:n]); done {
			return f
		}
		p = p[n:]
	}
	return r.eof(c)
}

func TestHTTPReply(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tc := range []struct {
		name, reply, body string
		want              Reason
	}{
		{"plain", "HTTP/1.1 200 OK\r\n\r\n", "", ""},
		{"no reason", "HTTP/1.1 200\r\n\r\n", "", ""},
		{"bare line feeds", "HTTP/1.0 200 OK\nA: b\n\nhello", "hello", ""},
		{"long lines", "HTTP/1.1 200 " + long + "\r\nX: " + long + "\r\n" + long + ": y\r\n\r\nhello", "hello", ""},
		{"interim replies", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello", "hello", ""},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello", ""},
		{"chunked without the text", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n3\r\nhel\r\n0\r\n\r\n", "hello", ReasonBody},
		{"chunked wins over length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"chunk cut off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30\r\nhel", "hello", ReasonProtocol},
		{"chunk size not a number", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhel", "hello", ReasonProtocol},
		{"chunk too long", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhel\r\n", "hello", ReasonProtocol},
		{"chunk size overflows", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhel\r\n", "hello", ReasonProtocol},
		{"text only behind the length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello", "hello", ReasonBody},
		{"text overlaps itself", "HTTP/1.1 200 OK\r\n\r\naaab aabaaab", "aabaaab", ""},
		{"empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "hello", ReasonBody},
		{"no content", "HTTP/1.1 204 No\r\n\r\nhello", "hello", ReasonBody},
		{"status out of range", "HTTP/1.1 404 Not\r\n\r\n", "", ReasonStatus},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "", ReasonProtocol},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "", ReasonProtocol},
		{"status 099", "HTTP/1.1 099 OK\r\n\r\n", "", ReasonProtocol},
		{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", "", ReasonProtocol},
		{"ICY", "ICY 200 OK\r\n\r\n", "", ReasonProtocol},
		{"length negative", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "x", ReasonProtocol},
		{"length too great", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "x", ReasonProtocol},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "x", ReasonProtocol},
		{"no colon", "HTTP/1.1 200 OK\r\nbogus\r\n\r\n", "", ReasonProtocol},
		{"folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "", ""},
		{"empty", "", "", ReasonProtocol},
	} {
		c, _ := newHTTPCheck(Spec{Method: &Method{Type: HTTP, HTTP: HTTPOptions{ExpectBody: tc.body}}})
		for _, piece := range []int{1, 7, 1 << 20} {
			expectReason(t, tc.name, judge(c, tc.reply, piece), tc.want)
		}
	}
	head, _ := newHTTPCheck(Spec{Method: &Method{Type: HTTP, HTTP: HTTPOptions{Method: "HEAD", ExpectBody: "x"}}})
	expectReason(t, "HEAD has no body", judge(head, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 100), ReasonBody)
}

// Any bytes come to one verdict however they are cut, and where net/http
// accepts the reply, so do we with the same status.
func FuzzHTTPReply(f *testing.F) {
	for _, s := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200 OK\n\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\n\r\n", "HTTP/1.1 100 \r\n\r\nHTTP/1.1 404 X\r\n\r\n", "SSH-2.0"} {
		f.Add(s, "hello", 3)
	}
	f.Fuzz(func(t *testing.T, reply, text string, piece int) {
		c, _ := newHTTPCheck(Spec{Method: &Method{Type: HTTP, HTTP: HTTPOptions{ExpectBody: text, BodyLimit: 1000, ExpectStatus: []StatusRange{{100, 999}}}}})
		whole := judge(c, reply, len(reply)+1)
		if cut := judge(c, reply, max(1, piece&1023)); (cut == nil) != (whole == nil) || cut != nil && cut.Reason != whole.Reason {
			t.Fatalf("whole %v, in pieces %v", whole, cut)
		}
		if whole == nil && text != "" && !strings.Contains(reply, text) && !strings.Contains(strings.ToLower(reply), "chunked") {
			t.Fatalf("found %q in %q", text, reply)
		}
		// net/http as the oracle for what it accepts in full.
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(reply)), nil)
		if err != nil || resp.ProtoMajor != 1 || resp.StatusCode < 200 || resp.Header.Get("Transfer-Encoding") != "" {
			return
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || len(body) > 900 || resp.StatusCode == 204 || resp.StatusCode == 304 {
			return
		}
		if text != "" && bytes.Contains(body, []byte(text)) && whole != nil && whole.Reason == ReasonBody {
			t.Fatalf("net/http reads %q, we find no %q in it", body, text)
		}
	})
}
