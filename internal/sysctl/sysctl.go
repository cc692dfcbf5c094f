package sysctl

import (
	"errors"
	"os"
	"strings"
)

// Path is the file of a setting. As in sysctl(8) the first separator tells how
// a key is written: with dots a slash stands for a dot in a name
// (net.ipv4.conf.eth0/7.rp_filter), with slashes all is as it is.
//
// What is below /proc/sys/net is that of the network namespace of the thread
// that opens the file.
func Path(key string) string {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		key = swap.Replace(key)
	}
	return "/proc/sys/" + key
}

var swap = strings.NewReplacer(".", "/", "/", ".")

// Read is the value, without the newline. The error is that of the file: one
// that there is not is os.ErrNotExist.
func Read(key string) (string, error) {
	b, err := os.ReadFile(Path(key))
	return strings.TrimSpace(string(b)), err
}

// Write sets the value, and never makes a file.
func Write(key, value string) error {
	// Not WriteFile: it would ask to create the file, which /proc refuses with a confusing error.
	f, err := os.OpenFile(Path(key), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
