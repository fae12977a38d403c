# Every verb, once; CI calls only these. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kstep-tools
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.linkedVersion=$(VERSION) -X main.linkedCommit=$(COMMIT)
GOFLAGS_STATIC := -trimpath -ldflags '$(LDFLAGS)'
export CGO_ENABLED := 0
export KSTEP_RIG_BINARY := $(CURDIR)/kstep

.PHONY: help
help: ## List the verbs.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build ./kstep for this machine.
	go build $(GOFLAGS_STATIC) -o kstep ./cmd/kstep

.PHONY: dist
dist: ## Build static binaries for all platforms, with checksums, into dist/.
	@rm -rf dist && mkdir -p dist
	@for p in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
	  GOOS=$${p%/*} GOARCH=$${p#*/} go build $(GOFLAGS_STATIC) -o dist/kstep-$${p%/*}-$${p#*/} ./cmd/kstep; \
	done
	@cd dist && sha256sum kstep-* > SHA256SUMS && cat SHA256SUMS

.PHONY: unit
unit: ## Run the tests of the packages (seconds).
	go test ./...

.PHONY: integration
integration: rig ## Run the integration tests on the rig.
	go test -tags integration -p 1 -count=1 -timeout 30m ./integration/...

.PHONY: test
test: unit integration ## Run all tests, unit to integration.

.PHONY: race
race: ## Run the tests of the packages under the race detector, shuffled.
	CGO_ENABLED=1 go test -race -shuffle=on ./...

.PHONY: rig
rig: build ## Bring up the rig: registry, three hosts, load balancer, deployer.
	integration/rig/up

.PHONY: rig-down
rig-down: ## Take the rig down, with all it holds.
	integration/rig/down --purge

.PHONY: demo
demo: rig ## Deploy two versions to the rig under traffic, and show what happened.
	go run -tags integration ./integration/demo

.PHONY: demo-down
demo-down: rig-down ## Remove the demo and the rig.

.PHONY: bench
bench: rig ## Measure a deploy beside its floor on the same hosts.
	go run -tags integration ./integration/bench

.PHONY: fmt
fmt: tools ## Format the code.
	$(CACHE)/golangci-lint fmt

.PHONY: generate
generate: ## Make the generated files: schemas, CLI reference, config reference.
	go generate ./...

.PHONY: lint
lint: tools ## Run the linters.
	go vet -tags integration ./...
	$(CACHE)/golangci-lint run

.PHONY: check
check: lint ## Check format, lint, generated files, module file and races.
	@$(CACHE)/golangci-lint fmt --diff || { echo 'not formatted: run `make fmt`'; exit 1; }
	go mod tidy -diff
	go generate ./...
	@git diff --exit-code || { echo 'generated files differ: run `make generate` and commit'; exit 1; }
	$(MAKE) race

.PHONY: fuzz
fuzz: ## Run every fuzz target for 30 seconds.
	@for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	  for t in $$(grep -oE '^func Fuzz[A-Za-z_]+' $$f | cut -d' ' -f2); do \
	    echo "== $$f $$t"; go test -run '^$$' -fuzz "^$$t$$" -fuzztime 30s ./$$(dirname $$f); \
	  done; \
	done

# The tools are keyed by their module file, so that a new version is built once.
TOOLS := $(CACHE)/.built-$(shell sha256sum tools/go.sum 2>/dev/null | cut -c1-12)

.PHONY: tools
tools: $(TOOLS)
$(TOOLS):
	@mkdir -p $(CACHE) && cd tools && go build -o $(CACHE)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint github.com/rhysd/actionlint/cmd/actionlint
	@rm -f $(CACHE)/.built-* && touch $@
