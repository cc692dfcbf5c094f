package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lvs-ha/vrrp"
)

// stream is a net.Conn that reads from fixed octets.
type stream struct {
	net.Conn
	r io.Reader
}

func (s stream) Read(p []byte) (int, error) { return s.r.Read(p) }
func (s stream) Close() error               { return nil }

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestConnCarriesEveryField(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	seq := uint64(7)
	down := []Down{
		{ID: 1, Configure: &Configure{Realtime: -1, Instances: []vrrp.Instance{{
			Name: "edge", Interface: "eth0", Lifetime: 8 * time.Second,
			Config: vrrp.Config{
				VRID: 51, Version: 3, Family: vrrp.IPv6, Priority: 150, Interval: time.Second, Preempt: true,
				Addresses: []netip.Addr{netip.MustParseAddr("fe80::1")}, Peers: []netip.Addr{netip.MustParseAddr("2001:db8::1")},
				Auth: vrrp.Auth{Type: vrrp.AuthPass, Data: [8]byte{'s', 'e', 'c'}},
			},
			Addresses: []vrrp.Address{{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Label: "eth0:v", Scope: 253}},
		}}}},
		{Posture: &Posture{Ready: true, Instances: map[string]InstancePosture{"edge": {Deltas: []int{-20}, Fault: "disk"}}}},
		{Taken: &seq},
		{Failover: &Failover{Instance: "edge", For: time.Minute, Force: true}},
	}
	go func() {
		c := NewConn(a)
		for _, m := range down {
			_ = c.Send(m)
		}
	}()
	c := NewConn(b)
	for i, want := range down {
		got, err := c.ReceiveDown()
		if err != nil {
			t.Fatal(i, err)
		}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
			t.Error(i, d)
		}
	}
}

func TestConnSendFromManyGoroutines(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	out, in := NewConn(a), NewConn(b)
	const each, senders = 50, 8
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := range each {
				_ = out.Send(Up{ID: uint64(i + 1), Error: strings.Repeat("x", i*37)})
			}
		})
	}
	for range each * senders {
		m, err := in.ReceiveUp()
		if err != nil {
			t.Fatal(err)
		}
		if want := int(m.ID-1) * 37; len(m.Error) != want {
			t.Fatalf("message %d has %d octets, want %d", m.ID, len(m.Error), want)
		}
	}
	wg.Wait()
}

func TestConnRefuses(t *testing.T) {
	long := binary.BigEndian.AppendUint32(nil, MaxFrame+1)
	for name, tc := range map[string]struct {
		in   []byte
		want string
		is   error
	}{
		"end":             {nil, "EOF", io.EOF},
		"half a length":   {[]byte{0, 0}, "unexpected EOF", io.ErrUnexpectedEOF},
		"half a body":     {frame(`{"ID":1}`)[:6], "unexpected EOF", io.ErrUnexpectedEOF},
		"no body":         {frame(`{"ID":1}`)[:4], "unexpected EOF", io.ErrUnexpectedEOF},
		"too long":        {long, "larger", ErrTooLarge},
		"not JSON":        {frame("hello"), "decode", nil},
		"empty frame":     {frame(""), "decode", nil},
		"no contents":     {frame(`{"ID":1}`), "0 contents", nil},
		"two contents":    {frame(`{"ID":1,"Status":{},"Stopped":{}}`), "2 contents", nil},
		"wrong type":      {frame(`{"ID":"x"}`), "decode", nil},
		"claims too much": {append(binary.BigEndian.AppendUint32(nil, MaxFrame), "{}"...), "unexpected EOF", io.ErrUnexpectedEOF},
	} {
		c := NewConn(stream{r: bytes.NewReader(tc.in)})
		_, err := c.ReceiveDown()
		if err == nil || !strings.Contains(err.Error(), tc.want) || (tc.is != nil && !errors.Is(err, tc.is)) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestConnAllocatesOnlyForWhatArrives(t *testing.T) {
	in := append(binary.BigEndian.AppendUint32(nil, MaxFrame), make([]byte, 1000)...)
	c := NewConn(stream{r: bytes.NewReader(in)})
	if _, err := c.ReceiveUp(); err == nil {
		t.Fatal("no error")
	}
	if cap(c.in) > 1<<18 {
		t.Errorf("1000 octets made it allocate %d", cap(c.in))
	}
}

func FuzzConn(f *testing.F) {
	f.Add(frame(`{"ID":1,"Status":{}}`))
	f.Add(frame(`{"Posture":{"Ready":true,"Instances":{"a":{"Deltas":[1,-2]}}}}`))
	f.Add(frame(`{"Configure":{"Instances":[{"Name":"a","Config":{"VRID":1,"Addresses":["192.0.2.1"]}}]}}`))
	f.Add(frame(`{"Transition":{"Seq":1,"Instance":"a","From":1,"To":2}}`))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(append(frame(`{}`), frame(`[1]`)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		down := NewConn(stream{r: bytes.NewReader(in)})
		for {
			if _, err := down.ReceiveDown(); err != nil {
				break
			}
		}
		up := NewConn(stream{r: bytes.NewReader(in)})
		for {
			if _, err := up.ReceiveUp(); err != nil {
				break
			}
		}
	})
}
