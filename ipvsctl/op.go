package ipvsctl

// OpKind is the kind of one change of the kernel's table.
type OpKind uint8

const (
	AddService OpKind = iota + 1
	SetService
	DeleteService
	AddServer
	SetServer
	DeleteServer
	StartDaemon
	StopDaemon
	SetTimeouts
)

// Op is one change as data. Which fields count depends on Kind: Service
// always names the service (of a server operation too).
type Op struct {
	Kind     OpKind
	Service  Service
	Server   Server
	Daemon   Daemon
	Timeouts Timeouts
}
