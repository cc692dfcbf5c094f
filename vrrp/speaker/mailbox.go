package speaker

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mailbox hands commands to the loop. Putting one in takes no lock, so that a
// goroutine that loses its CPU in between cannot hold up the loop.
type mailbox struct {
	head atomic.Pointer[letter]
	fd   int // eventfd
}

type letter struct {
	next *letter
	f    func()
}

func newMailbox() (*mailbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create an eventfd: %w", err)
	}
	m := &mailbox{fd: fd}
	// Not closed with the loop: whoever posts at that moment must not write
	// into a descriptor that has become something else.
	runtime.AddCleanup(m, func(fd int) { unix.Close(fd) }, fd)
	return m, nil
}

// post asks the loop to call f. It is safe for many goroutines.
func (m *mailbox) post(f func()) {
	l := &letter{f: f}
	var before *letter
	for {
		before = m.head.Load()
		l.next = before
		if m.head.CompareAndSwap(before, l) {
			break // the letter is the loop's now
		}
	}
	if before == nil { // else somebody else has rung, and the loop has not looked yet
		one := uint64(1)
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(m.fd), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// take returns all letters in the order they were posted; only the loop calls it.
func (m *mailbox) take() *letter {
	var in *letter
	for l := m.head.Swap(nil); l != nil; {
		next := l.next
		l.next = in
		in, l = l, next
	}
	return in
}

// acknowledge makes the descriptor quiet. Call it before take.
func (m *mailbox) acknowledge() {
	var buf uint64
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(m.fd), uintptr(unsafe.Pointer(&buf)), 8)
}
