package host

import (
	"io/fs"
	"maps"
	"sync"

	"lvs-ha/internal/sysctl"
)

// fake is a machine in memory that counts what is done to it.
type fake struct {
	mu       sync.Mutex
	sys      map[string]string
	readOnly error
	writes   int

	table      *table
	tableErr   error
	tableReads int
	odd        bool // shows a table otherwise than it was written
	ended      [][]Flow
	endErr     error
}

func (f *fake) readTable() (*table, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tableReads++
	if f.tableErr != nil || f.table == nil {
		return nil, f.tableErr
	}
	t := *f.table
	if f.odd {
		t.chains = append([]chain{{name: "odd"}}, t.chains...)
	}
	return &t, nil
}

func (f *fake) writeTable(t *table) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.tableErr == nil {
		f.table = t
	}
	return f.tableErr
}

func (f *fake) endFlows(list []Flow) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, list)
	return len(list), f.endErr
}

func (f *fake) readSysctl(key string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.sys[key]
	if !ok {
		return "", &fs.PathError{Op: "open", Path: sysctl.Path(key), Err: fs.ErrNotExist}
	}
	return v, nil
}

func (f *fake) writeSysctl(key, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.readOnly != nil {
		return &fs.PathError{Op: "open", Path: sysctl.Path(key), Err: f.readOnly}
	}
	if _, ok := f.sys[key]; !ok {
		return fs.ErrNotExist
	}
	f.sys[key] = value
	return nil
}

func (f *fake) put(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sys[key] = value
}

func (f *fake) settings() (map[string]string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.sys), f.writes
}
