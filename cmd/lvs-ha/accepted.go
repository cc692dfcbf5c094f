package main

import (
	"os"
	"path/filepath"

	"lvs-ha/conf"
	"lvs-ha/internal/logging"
)

// A director that died while its file was being edited must come back with
// what was in force. The accepted text is kept in the runtime directory: it
// goes with a reboot, as the state it belongs to does.

func acceptedPath(o runOptions) string { return filepath.Join(o.runtimeDir, "accepted.toml") }

func keepAccepted(o runOptions, c *conf.Config, log *logging.Log) {
	if c.Path == acceptedPath(o) {
		return
	}
	b, err := os.ReadFile(c.Path)
	if err == nil {
		err = os.WriteFile(acceptedPath(o)+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(acceptedPath(o)+".new", acceptedPath(o))
	}
	if err != nil {
		log.Warn("cannot keep a copy of the accepted configuration; if the director process dies while the file is broken, it cannot come back before that is mended",
			"event", "accepted_unwritable", "err", err)
	}
}

func loadAccepted(o runOptions) (*conf.Config, error) {
	c, problems := conf.Load(acceptedPath(o), o.node)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}
