package hooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// laneLimit bounds the events of one instance that wait. The oldest go first:
// the latest state is what matters.
const laneLimit = 64

// file is the queue as it is kept.
type file struct {
	// Speaker whose numbers these are; another one counts from the beginning.
	Speaker int
	Last    uint64
	Events  []Event
}

// load reads the queue; one that is not there is empty.
func load(name string) (file, error) {
	var f file
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		return file{}, fmt.Errorf("read the queue of hooks: %w", err)
	}
	return f, nil
}

// save replaces the queue. The directory is in memory: it has to outlive this
// process, not the machine, so nothing is synced.
func save(name string, f *file) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("save the queue of hooks: %w", err)
	}
	next := name + ".new"
	if err = os.WriteFile(next, b, 0o600); err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		return fmt.Errorf("save the queue of hooks: %w", err)
	}
	return nil
}
