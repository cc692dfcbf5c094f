package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

const (
	defaultConfig     = "/etc/lvs-ha/lvs-ha.toml"
	defaultRuntimeDir = "/run/lvs-ha"
	defaultStateDir   = "/var/lib/lvs-ha"
	socketName        = "agent.sock"
)

// runOptions are the flags that both processes of the agent share.
type runOptions struct {
	config, node, runtimeDir, stateDir string
}

func (o *runOptions) register(f *flag.FlagSet) {
	f.StringVar(&o.config, "config", defaultConfig, "configuration `file`")
	f.StringVar(&o.node, "node", defaultNode(), "which `node` of the file this is")
	f.StringVar(&o.runtimeDir, "runtime-dir", defaultRuntimeDir, "`directory` of the control socket")
	f.StringVar(&o.stateDir, "state-dir", defaultStateDir, "`directory` of what is kept over restarts")
}

// args gives the flags back, for the other process.
func (o *runOptions) args() []string {
	return []string{"--config", o.config, "--node", o.node, "--runtime-dir", o.runtimeDir, "--state-dir", o.stateDir}
}

// defaultNode is $LVS_HA_NODE, else the short host name.
func defaultNode() string {
	if n := os.Getenv("LVS_HA_NODE"); n != "" {
		return n
	}
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	short, _, _ := strings.Cut(h, ".")
	return short
}

// makeDirs makes the directories that the agent writes to.
func (o *runOptions) makeDirs() error {
	for _, d := range []struct {
		flag, path string
		mode       os.FileMode
	}{{"--runtime-dir", o.runtimeDir, 0o755}, {"--state-dir", o.stateDir, 0o750}} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return fmt.Errorf("cannot make the directory %s: %w; make it, or name another one with %s", d.path, err, d.flag)
		}
	}
	return nil
}
