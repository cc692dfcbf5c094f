package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"lvs-ha/conf"
	"lvs-ha/internal/logging"
)

// A director that died while its files were being edited must come back with
// what was in force. The texts that were accepted are kept in the runtime
// directory: they go with a reboot, as the state they belong to does.
type acceptedTexts struct {
	o runOptions

	mu       sync.Mutex
	loaded   *conf.Config // the last one, until it is kept, and what it was read from
	texts    []conf.Text
	warnings conf.Problems
}

func (a *acceptedTexts) path() string { return filepath.Join(a.o.runtimeDir, "accepted.json") }

// load reads the configuration's files.
func (a *acceptedTexts) load() (*conf.Config, error) {
	c, texts, problems := conf.LoadTexts(a.o.config, a.o.node)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if err := preflight(c); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loaded, a.texts, a.warnings = c, texts, problems.Warnings()
	return c, nil
}

// again reads what was accepted last. What this machine lacks by now keeps
// nobody from going on with it.
func (a *acceptedTexts) again() (*conf.Config, error) {
	b, err := os.ReadFile(a.path())
	if err != nil {
		return nil, err
	}
	var texts []conf.Text
	if err := json.Unmarshal(b, &texts); err != nil {
		return nil, fmt.Errorf("%s: %w", a.path(), err)
	}
	c, problems := conf.ParseTexts(texts, a.o.node)
	return c, problems.Err()
}

// keep the texts of a configuration that came into force, and tell what is
// doubtful about it.
func (a *acceptedTexts) keep(c *conf.Config, log *logging.Log) {
	a.mu.Lock()
	texts, warnings := a.texts, a.warnings
	if a.loaded != c {
		texts = nil // it is from again
	} else {
		a.loaded, a.texts, a.warnings = nil, nil, nil
	}
	a.mu.Unlock()
	if texts == nil {
		return
	}
	for i := range warnings {
		p := &warnings[i]
		log.Warn(p.What, "event", "config_warning", "file", p.File, "line", p.Line, "subject", p.Where, "cure", p.Cure)
	}
	b, err := json.Marshal(texts)
	if err == nil {
		err = os.WriteFile(a.path()+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(a.path()+".new", a.path())
	}
	if err != nil {
		log.Warn("cannot keep a copy of the accepted configuration; if the director process dies while a file is broken, it cannot come back before that is mended",
			"event", "accepted_unwritable", "err", err)
	}
}
