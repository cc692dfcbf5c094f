package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvs-ha/vrrp"
)

// fakeSpeaker remembers what it was told.
type fakeSpeaker struct {
	mu         sync.Mutex
	configured []Configure
	postures   []Posture
	failovers  []Failover
	refuse     error
	gate       chan struct{} // Configure waits for it, if there is one
}

func (s *fakeSpeaker) Configure(ctx context.Context, c Configure) error {
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configured = append(s.configured, c)
	return s.refuse
}

func (s *fakeSpeaker) SetPosture(p Posture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postures = append(s.postures, p)
}

func (s *fakeSpeaker) Failover(_ context.Context, f Failover) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failovers = append(s.failovers, f)
	return s.refuse
}

func (s *fakeSpeaker) Status(context.Context) (Status, error) {
	return Status{PID: 42, Realtime: "rr 10"}, nil
}

// director is a client with its ears open.
type director struct {
	*Client
	mu    sync.Mutex
	heard []string
	hold  chan struct{} // OnTransition waits for it, if there is one
	err   chan error
	stop  context.CancelFunc
}

func (d *director) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = append(d.heard, s)
}

func (d *director) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.heard
	d.heard = nil
	return h
}

// connect starts a director and serves it.
func connect(t *testing.T, s *Server, hold chan struct{}) (*director, chan error) {
	t.Helper()
	a, b := net.Pipe()
	d := &director{err: make(chan error, 1), hold: hold}
	d.Client = NewClient(a, ClientOptions{
		OnTransition: func(tr Transition) {
			d.note(fmt.Sprintf("%d %s %s", tr.Seq, tr.Instance, tr.To))
			if d.hold != nil {
				<-d.hold
			}
		},
		OnReload: func() { d.note("reload") },
		OnStop:   func() { d.note("stop") },
	})
	ctx, stop := context.WithCancel(t.Context())
	d.stop = stop
	served := make(chan error, 1)
	go func() { d.err <- d.Run(ctx) }()
	go func() { served <- s.Serve(t.Context(), b) }()
	return d, served
}

func tr(instance string, to vrrp.State) Transition { return Transition{Instance: instance, To: to} }

func TestRequestsAndAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sp := &fakeSpeaker{}
		var notes []Notify
		stopped := 0
		s := NewServer(sp, ServerOptions{Notify: func(n Notify) { notes = append(notes, n) }, Stopped: func() { stopped++ }})
		d, served := connect(t, s, nil)
		if err := d.Configure(t.Context(), Configure{Realtime: 7}); err != nil {
			t.Fatal(err)
		}
		st, err := d.Status(t.Context())
		if err != nil || st.PID != 42 || st.DirectorRestarts != 0 {
			t.Fatalf("status %+v, %v", st, err)
		}
		sp.refuse = errors.New("cannot use eth9: CAP_NET_RAW is missing")
		if err := d.Configure(t.Context(), Configure{}); err == nil || err.Error() != sp.refuse.Error() {
			t.Errorf("refusal came as %v", err)
		}
		if err := d.Failover(t.Context(), Failover{Instance: "a", For: time.Minute}); err == nil {
			t.Error("refused failover without error")
		}
		d.Notify(Notify{Ready: true, Status: "fine"})
		d.SetPosture(Posture{Ready: true})
		synctest.Wait()
		if len(notes) != 1 || !notes[0].Ready || len(sp.postures) != 1 || !sp.postures[0].Ready {
			t.Errorf("notes %v, postures %v", notes, sp.postures)
		}
		d.Stopped()
		if stopped != 1 {
			t.Errorf("Stopped returned, heard %d times", stopped)
		}
		d.stop()
		if err := <-d.err; err != nil {
			t.Error("client:", err)
		}
		if err := <-served; err != nil {
			t.Error("server:", err)
		}
		if err := d.Configure(t.Context(), Configure{}); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestPostureLatestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := NewClient(a, ClientOptions{})
		for i := range 100 {
			c.SetPosture(Posture{Instances: map[string]InstancePosture{"a": {Deltas: []int{i}}}})
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = c.Run(ctx) }()
		m, err := NewConn(b).ReceiveDown()
		if err != nil || m.Posture.Instances["a"].Deltas[0] != 99 {
			t.Errorf("got %+v, %v; want the last of 100", m, err)
		}
		stop()
		b.Close()
	})
}

func TestTransitionsAreReplayedUntilTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(&fakeSpeaker{}, ServerOptions{})
		s.Transition(tr("a", vrrp.Backup)) // before any director
		hold := make(chan struct{}, 1)
		d, served := connect(t, s, hold)
		synctest.Wait()
		hold <- struct{}{} // the first is taken
		s.Transition(tr("a", vrrp.Master))
		s.Transition(tr("b", vrrp.Backup))
		synctest.Wait()
		if got, want := d.take(), []string{"1 a backup", "2 a master"}; !slices.Equal(got, want) {
			t.Fatalf("heard %v, want %v", got, want)
		}
		// It dies while it works on number 2.
		d.stop()
		close(hold)
		<-d.err
		<-served
		s.Transition(tr("a", vrrp.Backup))
		d, served = connect(t, s, nil)
		synctest.Wait()
		if got, want := d.take(), []string{"2 a master", "3 b backup", "4 a backup"}; !slices.Equal(got, want) {
			t.Fatalf("the second heard %v, want %v", got, want)
		}
		if st, err := d.Status(t.Context()); err != nil || st.DirectorRestarts != 1 {
			t.Errorf("status %+v, %v", st, err)
		}
		d.stop()
		<-d.err
		<-served
		d, served = connect(t, s, nil)
		synctest.Wait()
		if got := d.take(); len(got) != 0 {
			t.Errorf("the third heard %v again", got)
		}
		d.stop()
		<-d.err
		<-served
	})
}

func TestStopComesAfterTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(&fakeSpeaker{}, ServerOptions{})
		d, served := connect(t, s, nil)
		synctest.Wait()
		s.Reload()
		synctest.Wait()
		s.Transition(tr("a", vrrp.Releasing))
		s.Transition(tr("a", vrrp.Init))
		s.Stop()
		synctest.Wait()
		want := []string{"reload", "1 a releasing", "2 a init", "stop"}
		if got := d.take(); !slices.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
		d.stop()
		<-d.err
		<-served
	})
}

func TestQueueKeepsTheLatestOfEachInstance(t *testing.T) {
	q := newTransitionQueue()
	q.add(tr("rare", vrrp.Fault))
	for range 3 * queueLimit {
		q.add(tr("busy", vrrp.Master))
	}
	got := q.after(0)
	if len(got) != queueLimit || got[0].Instance != "rare" || got[len(got)-1].Seq != 3*queueLimit+1 {
		t.Fatalf("%d kept, first %+v, last %+v", len(got), got[0], got[len(got)-1])
	}
	for i := 1; i < len(got); i++ {
		if got[i].Seq <= got[i-1].Seq {
			t.Fatal("out of order")
		}
	}
	q.take(got[1].Seq)
	if rest := q.after(0); len(rest) != queueLimit-2 || rest[0].Seq != got[2].Seq {
		t.Errorf("after taking two: %d, first %+v", len(rest), rest[0])
	}
}

// A director that does not read must not hold up the speaker, and one whose
// request is slow must not look dead.
func TestSlowDirectorAndSlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sp := &fakeSpeaker{gate: make(chan struct{})}
		heard := make(chan Notify, 10)
		s := NewServer(sp, ServerOptions{Notify: func(n Notify) { heard <- n }})
		a, b := net.Pipe()
		served := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { served <- s.Serve(ctx, b) }()
		for range 5000 {
			s.Transition(tr("a", vrrp.Master)) // returns, although nobody reads
		}
		conn := NewConn(a)
		if err := conn.Send(Down{ID: 1, Configure: &Configure{}}); err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(Down{Notify: &Notify{Status: "alive"}}); err != nil {
			t.Fatal(err)
		}
		if n := <-heard; n.Status != "alive" {
			t.Errorf("heard %+v", n)
		}
		stop() // ends although the writer is stuck and Configure waits
		if err := <-served; err != nil {
			t.Error(err)
		}
		a.Close()
	})
}

func TestServerSaysWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(&fakeSpeaker{}, ServerOptions{})
		a, b := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.Serve(t.Context(), b) }()
		go func() { _, _ = a.Write(frame(`{"ID":3}`)) }()
		if err := <-served; err == nil {
			t.Error("nonsense was not reported")
		}
		a.Close()
	})
}

func TestClientCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := NewClient(a, ClientOptions{})
		done := make(chan error, 1)
		go func() { done <- c.Run(t.Context()) }()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("speaker that does not read: %v", err)
		}
		b.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Status: %v", err)
		}
	})
}
