package director

import "sync"

// mailbox hands work to the loop. It never blocks the sender and never drops:
// what comes through it is state, not samples.
type mailbox struct {
	mu   sync.Mutex
	todo []func()
	wake chan struct{} // capacity 1
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.todo = append(m.todo, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.todo
	m.todo = nil
	return t
}
