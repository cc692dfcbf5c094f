package ipvsctl

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/moby/ipvs"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMobyLateAnswer: a call that hangs, as moby/ipvs does when an answer is
// lost, ends in time and gives the handle up.
func TestMobyLateAnswer(t *testing.T) {
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ctx := range map[string]context.Context{"deadline": t.Context(), "context": canceled} {
		m := moby{h: &ipvs.Handle{}}
		err := m.call(ctx, 10*time.Millisecond, func(*ipvs.Handle) error { <-stuck; return nil })
		if !errors.Is(err, ErrTransport) || isAnswer(err) || m.h != nil {
			t.Errorf("%s: %v, handle %v", name, err, m.h)
		}
	}
}

// TestMobyPanic: GetConfig of moby/ipvs panics on an answer without content.
func TestMobyPanic(t *testing.T) {
	m := moby{h: &ipvs.Handle{}}
	err := m.call(t.Context(), time.Minute, func(*ipvs.Handle) error { var msgs [][]byte; _ = msgs[0]; return nil })
	if !errors.Is(err, ErrTransport) || !errors.Is(err, errMalformed) || m.h != nil {
		t.Errorf("%v, handle %v", err, m.h)
	}
}

func TestMobyAnswerKeepsTheHandle(t *testing.T) {
	m := moby{h: &ipvs.Handle{}}
	for _, want := range []error{nil, unix.EEXIST, unix.ESRCH} {
		if err := m.call(t.Context(), time.Minute, func(*ipvs.Handle) error { return want }); !errors.Is(err, want) || m.h == nil {
			t.Errorf("%v, want %v, handle %v", err, want, m.h)
		}
	}
}

// TestMobyIsNotUsedWithoutFamily: where the numbers differ, moby/ipvs would
// write to another family, or to none with success.
func TestMobyIsNotUsedWithoutFamily(t *testing.T) {
	mobyFamily.Lock()
	asked, id := mobyFamily.asked, mobyFamily.id
	mobyFamily.asked, mobyFamily.id = true, 0
	mobyFamily.Unlock()
	t.Cleanup(func() {
		mobyFamily.Lock()
		mobyFamily.asked, mobyFamily.id = asked, id
		mobyFamily.Unlock()
	})
	var m moby
	if m.usable(&conn{family: 30}) {
		t.Error("used with an unknown number")
	}
	mobyFamily.id = 29
	if m.usable(&conn{family: 30}) {
		t.Error("used with another number")
	}
	mobyFamily.id = 30
	if !m.usable(&conn{family: 30}) {
		t.Error("not used with the right number")
	}
}

func TestMobyService(t *testing.T) {
	four := mobyService(Service{
		Key: AddrKey(TCP, netip.MustParseAddrPort("192.0.2.1:443")), Scheduler: "sh", PEName: "sip",
		Flags: FlagPersistent | FlagSched2, Timeout: time.Minute, PersistPrefix: 24,
	})
	if four.AddressFamily != unix.AF_INET || four.Address.String() != "192.0.2.1" || four.Port != 443 || four.Protocol != 6 ||
		four.Netmask != netmask(Service{Key: ServiceKey{Family: 4}, PersistPrefix: 24}) || four.Timeout != 60 || four.Flags != 0x11 || four.PEName != "sip" {
		t.Errorf("%+v", four)
	}
	six := mobyService(Service{Key: FWMarkKey(7, 6), Scheduler: "rr"})
	if six.AddressFamily != unix.AF_INET6 || six.FWMark != 7 || six.Address != nil || six.Protocol != 0 || six.Netmask != 128 {
		t.Errorf("%+v", six)
	}
}

// idle is a socket on which nobody answers.
func idle(t *testing.T) *conn {
	g, err := genetlink.Dial(nil)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { g.Close() })
	c := &conn{c: g, in: make([]byte, receiveSize), family: 16} // nlctrl
	if c.raw, err = g.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLostAnswer(t *testing.T) {
	c := idle(t)
	end, err := c.until(t.Context(), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if _, err := c.receive(); !errors.Is(err, ErrTransport) || !errors.Is(err, os.ErrDeadlineExceeded) || Result(err) != "timeout" {
		t.Errorf("%v, result %s", err, Result(err))
	}
}

func TestCanceledWhileWaiting(t *testing.T) {
	c := idle(t)
	ctx, cancel := context.WithCancel(t.Context())
	end, err := c.until(ctx, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	got := make(chan error)
	go func() {
		_, err := c.receive()
		got <- err
	}()
	cancel()
	if err := <-got; !errors.Is(err, ErrTransport) {
		t.Error(err)
	}
}

// TestAnswersOfAnotherFamily runs the exchange on the controller of generic
// netlink, which every kernel has: a refusal is the errno, and the socket stays usable.
func TestAnswersOfAnotherFamily(t *testing.T) {
	c := idle(t)
	end, err := c.until(t.Context(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	const getFamily, nameAttr = 3, 2
	name := func(s string) func(*encoder) { return func(e *encoder) { e.str(nameAttr, s) } }
	for range 2 {
		if err := c.get(getFamily, name("no-such-family"), nil); !errors.Is(err, unix.ENOENT) {
			t.Errorf("absent: %v", err)
		}
		n := 0
		if err := c.get(getFamily, name("nlctrl"), func(b []byte) error { n++; return nil }); err != nil || n != 1 {
			t.Errorf("present: %v, %d messages", err, n)
		}
		if n = 0; c.dump(getFamily, nil, func(b []byte) error { n++; return nil }) != nil || n < 1 {
			t.Errorf("dump: %d messages", n)
		}
		names := []string{"no-such-1", "nlctrl", "no-such-2", "nlctrl", "nlctrl"}
		errs := make([]error, len(names))
		if err := c.batch(len(names), func(i int, e *encoder) uint8 { e.str(nameAttr, names[i]); return getFamily }, errs); err != nil {
			t.Fatal(err)
		}
		for i, err := range errs {
			if errors.Is(err, unix.ENOENT) != (names[i] != "nlctrl") {
				t.Errorf("request %d, %s: %v", i, names[i], err)
			}
		}
	}
	// A reply that no kernel sends makes the socket unusable, and says so.
	if err := c.get(getFamily, name("nlctrl"), func([]byte) error { return errMalformed }); !errors.Is(err, ErrTransport) {
		t.Errorf("malformed: %v", err)
	}
}
