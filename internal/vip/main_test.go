package vip

import (
	"testing"

	"lvs-ha/internal/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }
