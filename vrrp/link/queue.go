package link

import "sync"

// queueLimit bounds the transitions kept for a director that is not there.
const queueLimit = 1024

// transitionQueue keeps transitions in order until they are taken. When it is
// full the oldest one goes for which a newer one of the same instance exists:
// the latest of each instance always stays.
type transitionQueue struct {
	mu    sync.Mutex
	last  uint64 // number of the latest
	items []Transition
	wake  chan struct{} // holds a token while there may be something new
}

func newTransitionQueue() *transitionQueue {
	return &transitionQueue{wake: make(chan struct{}, 1)}
}

// add numbers t and appends it.
func (q *transitionQueue) add(t Transition) {
	q.mu.Lock()
	q.last++
	t.Seq = q.last
	q.items = append(q.items, t)
	if len(q.items) > queueLimit {
		q.dropOne()
	}
	q.mu.Unlock()
	q.poke()
}

func (q *transitionQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *transitionQueue) dropOne() {
	latest := make(map[string]int, 16)
	for i, t := range q.items {
		latest[t.Instance] = i
	}
	for i, t := range q.items {
		if latest[t.Instance] != i {
			q.items = append(q.items[:i], q.items[i+1:]...)
			return
		}
	}
}

// take forgets all up to and including seq.
func (q *transitionQueue) take(seq uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.items) && q.items[n].Seq <= seq {
		n++
	}
	q.items = append(q.items[:0], q.items[n:]...)
}

// after returns a copy of those with a number above seq.
func (q *transitionQueue) after(seq uint64) []Transition {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, t := range q.items {
		if t.Seq > seq {
			return append([]Transition(nil), q.items[i:]...)
		}
	}
	return nil
}
