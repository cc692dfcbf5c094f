package command

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxOutput = 4 << 10
	// pipeSize is what a pipe holds unless somebody asks for more (pipe(7)).
	pipeSize = 64 << 10
)

// output collects the beginning of what comes through a pipe.
type output struct {
	r    *os.File
	b    []byte // maxOutput octets at most
	done chan struct{}
}

// collect starts collecting what is written to the file it returns.
func collect() (*output, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	o := &output{r: r, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		_, _ = io.Copy(o, r) // to the end of all writers, or to the deadline that end sets
	}()
	return o, w, nil
}

func (o *output) Write(p []byte) (int, error) {
	o.b = append(o.b, p[:min(len(p), maxOutput-len(o.b))]...)
	return len(p), nil
}

// end returns what has been written until now. It waits for nobody: neither
// for a program that has left its group and keeps the pipe, nor for the
// goroutine that collects, which a busy machine may have kept from reading.
func (o *output) end() []byte {
	defer o.r.Close()
	_ = o.r.SetReadDeadline(time.Unix(1, 0))
	<-o.done
	_ = o.r.SetReadDeadline(time.Time{})
	conn, err := o.r.SyscallConn()
	if err != nil {
		return o.b
	}
	_ = conn.Read(func(fd uintptr) bool {
		buf := make([]byte, pipeSize)
		for rest := pipeSize; rest > 0 && len(o.b) < maxOutput; {
			n, err := unix.Read(int(fd), buf[:rest])
			if err == unix.EINTR {
				continue
			}
			if n <= 0 { // all is read, or all have closed it
				break
			}
			_, _ = o.Write(buf[:n])
			rest -= n
		}
		return true
	})
	return o.b
}
