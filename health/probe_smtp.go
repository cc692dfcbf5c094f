package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
)

const maxSMTP = 16 << 10 // octets of all answers

// smtpReply reads one reply of RFC 5321 4.2: lines that begin with the same
// three digits, all but the last with a hyphen after them. The text is that of
// the last line.
func smtpReply(l *lineReader) (code int, text string, err error) {
	for first := true; ; first = false {
		line, err := l.next()
		if err != nil {
			return 0, "", early(err, "within the dialogue")
		}
		n := 0
		if len(line) >= 3 && isDigit(line[0]) && isDigit(line[1]) && isDigit(line[2]) {
			n = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
		}
		if n < 200 || n > 599 || len(line) > 3 && line[3] != '-' && line[3] != ' ' || !first && n != code {
			return 0, "", &Failure{ReasonProtocol, fmt.Sprintf("not SMTP: %.40q", line)}
		}
		code = n
		if len(line) == 3 {
			return code, "", nil
		}
		if line[3] == ' ' {
			return code, line[4:], nil
		}
	}
}

// smtpSession is the dialogue over one connection.
type smtpSession struct {
	c net.Conn
	l *lineReader
}

// want sends a command, if there is one, and expects a code of its answer.
func (s *smtpSession) want(command string, want int) error {
	if command != "" {
		if _, err := io.WriteString(s.c, command+"\r\n"); err != nil {
			return err
		}
	}
	code, text, err := smtpReply(s.l)
	if err != nil {
		return err
	}
	if code != want {
		what := "the greeting"
		if command != "" {
			what = command
		}
		return &Failure{ReasonStatus, "answer to " + what + ": " + strconv.Itoa(code) + " " + printable(text)}
	}
	return nil
}

func newSMTPProber(s Spec) Prober {
	st := newStream(s, s.TLS.On)
	var upgrade *tlsClient
	if s.SMTP.StartTLS && !s.TLS.On {
		upgrade = newTLSClient(s)
	}
	hello := "EHLO " + s.SMTP.helo()
	return proberFunc(func(ctx context.Context) (rep Report, err error) {
		c, done, err := st.open(ctx, &rep)
		if err != nil {
			return rep, err
		}
		defer done()
		se := &smtpSession{c, newLineReader(c, maxSMTP)}
		if err := se.want("", 220); err != nil {
			return rep, err
		}
		if err := se.want(hello, 250); err != nil {
			return rep, err
		}
		if upgrade != nil {
			if err := se.want("STARTTLS", 220); err != nil {
				return rep, err
			}
			t, err := upgrade.handshake(ctx, c, &rep)
			if err != nil {
				return rep, err
			}
			se = &smtpSession{t, newLineReader(t, maxSMTP)} // what came in the clear before is forgotten
			if err := se.want(hello, 250); err != nil {
				return rep, err
			}
		}
		// A server that hangs up without its last word has said what was asked of it.
		_, _ = io.WriteString(se.c, "QUIT\r\n")
		_, _, _ = smtpReply(se.l)
		return rep, nil
	})
}
