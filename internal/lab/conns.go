package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience: a line unanswered for this long counts as a dead connection. It is
// far above what TCP needs to repair an outage of seconds.
const patience = 15 * time.Second

// Conns are long connections that speak a line now and then.
type Conns struct {
	stop  context.CancelFunc
	wg    sync.WaitGroup
	conns []*longConn
}

type longConn struct {
	conn   net.Conn
	mu     sync.Mutex
	server string
	lines  int
	last   time.Time // of the latest answer
	worst  time.Duration
	dead   string // why, empty while it lives
}

// Hold opens n connections to target (the VIP's TCP service if invalid), each
// of which speaks a line every so often until Stop.
func (l *Lab) Hold(ctx context.Context, n int, every time.Duration, target netip.AddrPort) (*Conns, error) {
	if !target.IsValid() {
		target = netip.AddrPortFrom(VIP, TCPPort)
	}
	run, cancel := context.WithCancel(context.Background())
	cs := &Conns{stop: cancel}
	from := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 10+clientAddresses-1)}
	for range n {
		var conn net.Conn
		err := l.Client.Do(func() (err error) {
			conn, err = (&net.Dialer{LocalAddr: from, FallbackDelay: -1}).DialContext(ctx, "tcp", target.String())
			return err
		})
		if err != nil {
			cs.Stop()
			return nil, fmt.Errorf("cannot open connection %d of %d: %w", len(cs.conns)+1, n, err)
		}
		c := &longConn{conn: conn}
		cs.conns = append(cs.conns, c)
		cs.wg.Go(func() { c.talk(run, every) })
	}
	return cs, nil
}

func (c *longConn) talk(ctx context.Context, every time.Duration) {
	defer c.conn.Close()
	end := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer end()
	r := bufio.NewReader(c.conn)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		sent := time.Now()
		err := c.conn.SetDeadline(sent.Add(patience))
		if err == nil {
			_, err = c.conn.Write([]byte("line\n"))
		}
		var answer string
		if err == nil {
			answer, err = r.ReadString('\n')
		}
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		server, _, _ := strings.Cut(answer, " ")
		switch {
		case err != nil:
			c.dead = why(err)
		case c.server != "" && c.server != server:
			c.dead = "moved from " + c.server + " to " + server
		default:
			c.server, c.last = server, time.Now()
			c.lines++
			c.worst = max(c.worst, c.last.Sub(sent))
		}
		dead := c.dead != ""
		c.mu.Unlock()
		if dead {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// why a connection died, without its addresses, so that equals can be counted.
func why(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer"
	}
	return err.Error()
}

// ConnReport of long connections.
type ConnReport struct {
	Opened, Alive int
	Lines         int
	// WorstAnswer is the longest that a line waited.
	WorstAnswer time.Duration
	// Dead says why, with numbers; Servers where the living ones are.
	Dead, Servers map[string]int
}

// Report is the state now; since, if not zero, demands an answer since then of a living one.
func (cs *Conns) Report(since time.Time) ConnReport {
	r := ConnReport{Opened: len(cs.conns), Dead: map[string]int{}, Servers: map[string]int{}}
	for _, c := range cs.conns {
		c.mu.Lock()
		r.Lines += c.lines
		switch {
		case c.dead != "":
			r.Dead[c.dead]++
		case c.last.Before(since):
			r.Dead["no answer yet"]++
		default:
			r.Alive++
			r.Servers[c.server]++
			r.WorstAnswer = max(r.WorstAnswer, c.worst)
		}
		c.mu.Unlock()
	}
	return r
}

// Verify waits until every connection has answered a line that was sent after
// now. The report is valid with an error, too.
func (cs *Conns) Verify(ctx context.Context) (ConnReport, error) {
	// An answer to a line under way does not count: one interval later all is new.
	var r ConnReport
	start := time.Now()
	seen := make([]int, len(cs.conns))
	for i, c := range cs.conns {
		c.mu.Lock()
		seen[i] = c.lines
		c.mu.Unlock()
	}
	err := Until(ctx, "all connections have answered", func() error {
		r = cs.Report(time.Time{})
		for i, c := range cs.conns {
			c.mu.Lock()
			fresh := c.dead != "" || c.lines >= seen[i]+2 && c.last.After(start)
			c.mu.Unlock()
			if !fresh {
				return errors.New(r.String())
			}
		}
		return nil
	})
	if err == nil && r.Alive < r.Opened {
		err = errors.New(r.String())
	}
	return r, err
}

// KnownTo counts those that a host's connection table holds as established.
func (cs *Conns) KnownTo(h *Host) (n int, err error) {
	b, err := h.readNet("ip_vs_conn")
	if err != nil {
		return 0, err
	}
	ours := map[string]bool{}
	for _, c := range cs.conns {
		ours[fmt.Sprintf("%04X", c.conn.LocalAddr().(*net.TCPAddr).Port)] = true
	}
	for line := range strings.Lines(string(b)) {
		// Protocol, client and its port, …
		if w := strings.Fields(line); len(w) >= 8 && w[0] == "TCP" && w[1] == longAddress && ours[w[2]] && w[7] == "ESTABLISHED" {
			n++
		}
	}
	return n, nil
}

// longAddress is the address of the client that long connections come from, as
// the kernel's table has it: the last one.
var longAddress = fmt.Sprintf("0A0000%02X", 10+clientAddresses-1)

// Stop closes them.
func (cs *Conns) Stop() {
	cs.stop()
	cs.wg.Wait()
}

func (r ConnReport) String() string {
	s := fmt.Sprintf("%d of %d alive (%s), longest wait for an answer %s", r.Alive, r.Opened, counts(r.Servers), r.WorstAnswer.Round(time.Millisecond))
	if len(r.Dead) > 0 {
		s += "; lost: " + counts(r.Dead)
	}
	return s
}
