package health

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const maxFile = 64 << 10

func newFileProber(s Spec) Prober {
	o := s.File
	return proberFunc(func(context.Context) (Report, error) { return o.look() })
}

// look at the file. That it cannot be read is this machine's trouble, that it
// is not there is an answer.
func (o FileOptions) look() (Report, error) {
	// A pipe without a writer must not hold the probe up.
	f, err := os.OpenFile(o.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.Absent:
		return Report{}, nil
	case errors.Is(err, fs.ErrNotExist):
		return Report{}, &Failure{ReasonStatus, "no file " + o.Path}
	case o.Absent && (err == nil || errors.Is(err, fs.ErrPermission)):
		if err == nil {
			_ = f.Close()
		}
		return Report{}, &Failure{ReasonStatus, "there is a file " + o.Path}
	case err != nil:
		return Report{}, &Failure{ReasonInternal, err.Error()}
	}
	defer func() { _ = f.Close() }()
	if o.Expect == "" && !o.WeightFromContent {
		return Report{}, nil
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return Report{}, &Failure{ReasonInternal, o.Path + " is no regular file"}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return Report{}, &Failure{ReasonInternal, err.Error()}
	}
	if o.Expect != "" && !bytes.Contains(b, []byte(o.Expect)) {
		return Report{}, &Failure{ReasonBody, "text not found in " + o.Path}
	}
	var rep Report
	if o.WeightFromContent {
		a, ok := parseWeight(bytes.TrimSpace(b))
		if !ok {
			return Report{}, &Failure{ReasonBody, "no weight in " + o.Path}
		}
		rep.Advice = a
	}
	return rep, nil
}
