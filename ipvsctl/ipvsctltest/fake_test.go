package ipvsctltest

import (
	"testing"

	"lvs-ha/ipvsctl"
)

func TestFakeConformance(t *testing.T) {
	Conformance(t, func(*testing.T) ipvsctl.Kernel {
		f := NewFake()
		f.SetInterfaces(Interface)
		return f
	})
}
