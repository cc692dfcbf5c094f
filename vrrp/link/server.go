package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Speaker is what the server needs of the speaker. All methods are safe for
// many goroutines.
type Speaker interface {
	Configure(ctx context.Context, c Configure) error
	SetPosture(p Posture)
	Failover(ctx context.Context, f Failover) error
	Status(ctx context.Context) (Status, error)
}

// ServerOptions wire a server to the supervisor of the director.
type ServerOptions struct {
	// Notify is called with each sign of life of the director; it must not block.
	Notify func(Notify)
	// Stopped is called when the director has done all it had to do; it must not block.
	Stopped func()
}

// Server is the speaker's end. It outlives its directors: Serve is called for
// one after the other.
type Server struct {
	speaker Speaker
	o       ServerOptions
	queue   *transitionQueue
	reload  atomic.Bool
	stop    atomic.Bool
	served  atomic.Uint64
	serving sync.Mutex
}

// NewServer makes the speaker's end; it starts nothing.
func NewServer(s Speaker, o ServerOptions) *Server {
	if o.Notify == nil {
		o.Notify = func(Notify) {}
	}
	if o.Stopped == nil {
		o.Stopped = func() {}
	}
	return &Server{speaker: s, o: o, queue: newTransitionQueue()}
}

// Transition numbers and queues t for the director, whether or not there is
// one now. It does not block; its order of calls is the order of the numbers.
func (s *Server) Transition(t Transition) { s.queue.add(t) }

// Reload tells the director to read the configuration again; if there is none
// nothing is kept, because the next one reads it anyway.
func (s *Server) Reload() {
	s.reload.Store(true)
	s.queue.poke()
}

// Stop tells this and every later director that the program ends. It is sent
// after all queued transitions.
func (s *Server) Stop() {
	s.stop.Store(true)
	s.queue.poke()
}

// Serve talks to one director until ctx ends, the director goes, or it says
// something that makes no sense. It closes c. A director that ends is not an
// error; the supervisor sees its exit status.
func (s *Server) Serve(ctx context.Context, c net.Conn) error {
	s.serving.Lock() // one director at a time; the queue's token has one taker
	defer s.serving.Unlock()
	s.served.Add(1)
	s.reload.Store(false)
	conn := NewConn(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()

	var wg sync.WaitGroup
	requests := make(chan Down, 16)
	wg.Go(func() { s.answer(ctx, conn, requests); cancel() })
	wg.Go(func() { s.report(ctx, conn); cancel() })
	err := s.read(ctx, conn, requests)
	ended := ctx.Err() != nil || isClosed(err)
	cancel()
	conn.Close()
	wg.Wait()
	if ended {
		return nil
	}
	return fmt.Errorf("from the director: %w", err)
}

// read passes signs of life and posture on at once; what needs an answer goes
// to a worker, so that a slow one does not make the director look dead.
func (s *Server) read(ctx context.Context, conn *Conn, requests chan<- Down) error {
	for {
		m, err := conn.ReceiveDown()
		if err != nil {
			return err
		}
		switch {
		case m.Posture != nil:
			s.speaker.SetPosture(*m.Posture)
		case m.Notify != nil:
			s.o.Notify(*m.Notify)
		case m.Taken != nil:
			s.queue.take(*m.Taken)
		case m.Stopped != nil:
			s.o.Stopped()
		}
		if m.ID == 0 {
			continue
		}
		select {
		case requests <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Server) answer(ctx context.Context, conn *Conn, requests <-chan Down) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-requests:
			up := Up{ID: m.ID}
			var err error
			switch {
			case m.Configure != nil:
				err = s.speaker.Configure(ctx, *m.Configure)
			case m.Failover != nil:
				err = s.speaker.Failover(ctx, *m.Failover)
			case m.Status != nil:
				var st Status
				if st, err = s.speaker.Status(ctx); err == nil {
					st.DirectorRestarts = s.served.Load() - 1
					up.Status = &st
				}
			}
			if err != nil {
				up.Error = err.Error()
			}
			if conn.Send(up) != nil {
				return
			}
		}
	}
}

// report sends transitions in order, then what else there is to tell.
func (s *Server) report(ctx context.Context, conn *Conn) {
	sent := uint64(0)
	stopSent := false
	s.queue.poke()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.queue.wake:
		}
		// Read before the queue: what preceded the call of Stop is in the queue then.
		stop, reload := s.stop.Load(), s.reload.Swap(false)
		for _, t := range s.queue.after(sent) {
			if conn.Send(Up{Transition: &t}) != nil {
				return
			}
			sent = t.Seq
		}
		if reload && conn.Send(Up{Reload: &struct{}{}}) != nil {
			return
		}
		if stop && !stopSent {
			if conn.Send(Up{Stop: &struct{}{}}) != nil {
				return
			}
			stopSent = true
		}
	}
}

// errText is an error that came over the link.
type errText string

func (e errText) Error() string { return string(e) }

var errEmpty = errors.New("answer without contents")
