# lvs-ha: `make` lists what there is.  The only prerequisite is Go 1.26; what
# tests and demo need beyond it they fetch themselves and say so (YES=1 never asks).

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)
# The version is given by us; git may refuse to answer another user.  Tests are
# built like the program, so that nothing is compiled twice.
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath
BUILD    := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
PREFIX   ?= /usr/local
FUZZTIME ?= 120
HISTORIES ?= 1000000
FIRST    ?= 1

.DEFAULT_GOAL := help
.PHONY: help go build build-arm64 demo demo-live test test-long race lint fuzz bench install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

go:
	@v=$$(go env GOVERSION 2>/dev/null | sed 's/^go//'); \
	[ "$$(printf '%s\n1.26\n' "$${v:-0}" | sort -V | head -1)" = 1.26 ] || \
	{ echo "lvs-ha needs Go 1.26 or newer on the PATH (found $${v:-none}); see https://go.dev/dl." >&2; exit 1; }

build: go ## the program: one static binary, ./lvs-ha
	$(BUILD) -o lvs-ha ./cmd/lvs-ha

build-arm64: go ## the program for arm64, dist/lvs-ha-arm64
	GOOS=linux GOARCH=arm64 $(BUILD) -o dist/lvs-ha-arm64 ./cmd/lvs-ha

demo: build ## two directors, three servers, a client: see it work, in two minutes
	@test/vm/demo -bin ./lvs-ha

demo-live: build ## the same, left running with a live view until a key is pressed
	@test/vm/demo -bin ./lvs-ha -live

test: go ## every test, those on a real IPVS kernel included (no root needed; SLICE=1 adds a part of the long ones)
	@test/vm/test-all $(if $(SLICE),--slice)

test-long: go ## the tests that take longer, too (HISTORIES=1000000 elections from seed FIRST=1)
	@go test -count=1 -timeout 0 -v -run '^TestHistories$$' ./vrrp/vrrptest -lvsha.histories=$(HISTORIES) -lvsha.first=$(FIRST)
	@test/vm/test-all --long
	@test/vm/selftest

race: go ## the tests that need no IPVS, under the race detector
	@test/vm/test-all --race

lint: go ## gofmt, vet, staticcheck, go.mod, shell syntax
	@tools/lint

fuzz: go ## every fuzz target for a while (FUZZTIME=seconds for all together)
	@tools/fuzz $(FUZZTIME)

bench: build ## measure lvs-ha beside keepalived, quickly (test/bench/run for all of it)
	@test/bench/run -q -b ./lvs-ha

install: build ## the program, its unit, and what the kernel needs, under PREFIX
	install -D -m 755 lvs-ha $(DESTDIR)$(PREFIX)/sbin/lvs-ha
	install -D -m 644 packaging/lvs-ha.service $(DESTDIR)$(PREFIX)/lib/systemd/system/lvs-ha.service
	install -D -m 644 packaging/modules-load.conf $(DESTDIR)$(PREFIX)/lib/modules-load.d/lvs-ha.conf
	install -D -m 644 packaging/sysctl.conf $(DESTDIR)$(PREFIX)/lib/sysctl.d/60-lvs-ha.conf
	install -D -m 644 packaging/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/lvs-ha.conf

clean: ## remove what was built here (the cache of kernel and image stays)
	rm -rf lvs-ha dist .cache
	rm -rf test/bench/results
