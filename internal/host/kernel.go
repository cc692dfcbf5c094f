package host

// kernel is the machine itself.
type kernel struct{}

func (kernel) readSysctl(key string) (string, error) { return readSysctl(key) }
func (kernel) writeSysctl(key, value string) error   { return writeSysctl(key, value) }
