package director

import (
	"testing"

	"lvs-ha/conf"
	"lvs-ha/ipvsctl"
)

// TestQuiescesOfPorts: ranges of UDP ports are UDP, though their key is a mark.
func TestQuiescesOfPorts(t *testing.T) {
	svc := func(p ipvsctl.Protocol) *conf.Service {
		s := &conf.Service{Ports: &conf.Ports{Protocol: p}}
		s.Service.Key.FWMark = conf.FirstPortsMark
		return s
	}
	if quiesces(svc(ipvsctl.UDP)) || !quiesces(svc(ipvsctl.TCP)) {
		t.Error("the protocol of ranges of ports does not count")
	}
}
