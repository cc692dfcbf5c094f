package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"lvs-ha/ipvsctl"
)

// The services that we have ever named are kept in a file, so that one that
// leaves the configuration while the agent is stopped still leaves the kernel.
// Without the file nothing unknown is touched.

const ownedFile = "owned.json"

type ownedDoc struct {
	Version  int                  `json:"version"`
	Services []ipvsctl.ServiceKey `json:"services"`
}

// loadOwned reads the file in dir. A missing one is an empty set; an
// unreadable one is an empty set and an error for the log.
func loadOwned(dir string) (map[ipvsctl.ServiceKey]bool, error) {
	owned := map[ipvsctl.ServiceKey]bool{}
	b, err := os.ReadFile(filepath.Join(dir, ownedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return owned, nil
	}
	if err != nil {
		return owned, err
	}
	var doc ownedDoc
	if err := json.Unmarshal(b, &doc); err != nil {
		return owned, fmt.Errorf("%s: %w (services of an earlier configuration stay in the kernel; remove them with ipvsadm -D)", filepath.Join(dir, ownedFile), err)
	}
	for _, k := range doc.Services {
		owned[k] = true
	}
	return owned, nil
}

// saveOwned replaces the file in one step.
func saveOwned(dir string, owned map[ipvsctl.ServiceKey]bool) error {
	doc := ownedDoc{Version: 1, Services: make([]ipvsctl.ServiceKey, 0, len(owned))}
	for k := range owned {
		doc.Services = append(doc.Services, k)
	}
	sort.Slice(doc.Services, func(i, j int) bool {
		return fmt.Sprint(doc.Services[i]) < fmt.Sprint(doc.Services[j])
	})
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, ownedFile), append(b, '\n'))
}

// replaceFile writes a file so that a reader sees the old or the new content,
// also after a power cut.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
