package host

import "lvs-ha/internal/sysctl"

// kernel is the machine itself.
type kernel struct{}

func (kernel) readSysctl(key string) (string, error) { return sysctl.Read(key) }
func (kernel) writeSysctl(key, value string) error   { return sysctl.Write(key, value) }
