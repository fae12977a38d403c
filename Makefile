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

# Most tests wait for something most of the time, so many run at once.
UNITS := -parallel 8 -timeout 35m
# Under the race detector a whole command takes four times as long, so of the tests
# of commands it watches those in which most happens at the same time.
RACED := ^Test(Barrier|Cutover|Deploy_Of|Drain|Faults_Every|Lease|Shards)
RACE  := -race -shuffle=on $(UNITS)
# The tests on the rig: as many at once as there are rigs (integration/rig). One of
# them keeps two cores busy, so more than two only wait for each other.
ON_RIG := -tags integration -p 1 -parallel 2 -count=1 -timeout 70m ./integration/...

# gotestsum shows the tests, and keeps what they took.
GOTESTSUM := $(CACHE)/gotestsum-$(shell sha256sum tools/gotestsum/go.sum 2>/dev/null | cut -c1-12)
GOTEST = mkdir -p .tested && GOGC=400 $(GOTESTSUM) --format-hide-empty-pkg --jsonfile .tested/$(1).json

.PHONY: help
help: ## List the verbs.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build ./kstep for this machine.
	go build $(GOFLAGS_STATIC) -o kstep ./cmd/kstep

# The time of the commit, so that the same commit makes the same archives.
BUILT_AT  := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
PACK      := tar --sort=name --format=ustar --mtime=@$(BUILT_AT) --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX

.PHONY: dist
dist: ## Build archives for all platforms, with checksums, into dist/. install.sh installs them.
	@rm -rf dist && mkdir -p dist
	@stage=$$(mktemp -d); trap 'rm -rf "$$stage"' EXIT; \
	for p in $(PLATFORMS); do \
	  os=$${p%/*} arch=$${p#*/} program=kstep; if [[ $$os = windows ]]; then program=kstep.exe; fi; \
	  rm -rf "$$stage"/* && cp LICENSE README.md "$$stage"; \
	  GOOS=$$os GOARCH=$$arch go build $(GOFLAGS_STATIC) -o "$$stage/$$program" ./cmd/kstep; \
	  $(PACK) -C "$$stage" -c LICENSE README.md $$program | gzip -n9 >dist/kstep_$(VERSION)_$${os}_$$arch.tar.gz; \
	done
	@cd dist && sha256sum kstep_*.tar.gz >checksums.txt && cat checksums.txt

.PHONY: unit
unit: $(GOTESTSUM) ## Run the tests of the packages, all but those of commands under the race detector (some minutes).
	@export TMPDIR=$$(.ci/memory) CGO_ENABLED=1; \
	$(call GOTEST,packages) --format pkgname -- $(RACE) $$(go list ./... | grep -v '/cmd/kstep$$'); \
	export CGO_ENABLED=0; \
	$(call GOTEST,commands) --format pkgname -- $(UNITS) ./cmd/kstep

.PHONY: integration
integration: $(GOTESTSUM) rig ci-tools ## Run the integration tests on the rig.
	@$(call GOTEST,$@) --format testname -- $(ON_RIG)

# Its tests are a part of integration: test does not run them twice.
.PHONY: seeds
seeds: $(GOTESTSUM) rig ## Show each of S1 to S17 (docs/seeds.md) on the rig (some minutes).
	@$(call GOTEST,$@) --format testname -- $(ON_RIG:./integration/...=./integration) -run '^TestSeeds_'

.PHONY: test
test: ## Run all tests, unit to integration, and tell what took how long.
	@rm -rf .tested && mkdir .tested
	@for part in unit rig ci-tools integration; do .ci/timed .tested/parts $(MAKE) --no-print-directory $$part; done
	@echo && cat .tested/parts && echo && echo 'The slowest tests:'
	@cat .tested/*.json | $(GOTESTSUM) tool slowest --num 10

.PHONY: race
race: $(GOTESTSUM) ## Run the busiest tests of commands under the race detector, shuffled.
	@export TMPDIR=$$(.ci/memory) CGO_ENABLED=1; \
	$(call GOTEST,$@) --format pkgname -- $(RACE) -run '$(RACED)' ./cmd/kstep

.PHONY: rig
rig: build ## Bring up the rig: registry, three hosts, load balancer, deployer.
	integration/rig/up

.PHONY: rig-down
rig-down: ## Take the rig down, with all it holds.
	integration/rig/down --purge

.PHONY: demo
demo: build ## Bring up the rig, deploy two versions under traffic, and show what happened.
	@go run ./integration/demo

.PHONY: demo-down
demo-down: rig-down ## Remove the demo and the rig.

.PHONY: bench
bench: build ## Measure deploys beside their floor on the rig: five rounds, some minutes.
	@KSTEP_RIG_STORE=disk go run ./integration/bench

STEP ?= 1
.PHONY: faults
faults: build ## Break every stage at every remote operation, and write docs/faults.md (hours; goes on where it was interrupted; STEP=11 tries one in 11).
	go run ./integration/faults -keep .faults/$(VERSION) -step $(STEP) -behind-step $(STEP) -rig-step $(STEP)

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
check: static unit race ## Check all that needs no rig.

# Licences that may be shipped in a binary under Apache-2.0. Modules of tests count, too.
PERMISSIVE := Apache-2.0,BSD-2-Clause,BSD-3-Clause,ISC,MIT
GO_LICENSES := $(CACHE)/go-licenses-$(shell sha256sum tools/licenses/go.sum 2>/dev/null | cut -c1-12)
# A list is made without the network: the tool would look up an address for each module.
NO_NETWORK := HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9

.PHONY: licenses
licenses: $(GO_LICENSES) ## List the licences of all modules, and fail on one that is not permissive.
	@go mod download
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for os in linux darwin windows; do \
	  GOOS=$$os $(NO_NETWORK) $(GO_LICENSES) check --include_tests --allowed_licenses=$(PERMISSIVE) ./... 2>"$$log" \
	    || { grep -v '^[W/]' "$$log"; echo 'a licence is not permissive: use another module, or add the licence to PERMISSIVE in the Makefile'; exit 1; }; \
	done; \
	$(NO_NETWORK) $(GO_LICENSES) report --include_tests --template tools/licenses/list.tmpl ./... 2>"$$log" || { cat "$$log"; exit 1; }

.PHONY: static
static: scripts lint licenses ## Check format, lint, licences, generated files and module file.
	@$(CACHE)/golangci-lint fmt --diff || { echo 'not formatted: run `make fmt`'; exit 1; }
	go mod tidy -diff
	GOOS=windows go build -trimpath -o /dev/null ./cmd/kstep
	go generate ./...
	@git diff --exit-code || { echo 'generated files differ: run `make generate` and commit'; exit 1; }

# What a user's own scripts look like, for the tests, is not ours to correct.
.PHONY: scripts
scripts: ## Check the shell scripts.
	@git ls-files -z ':!:*/testdata/*' | xargs -0 awk '/^#!.*[\/ ](ba)?sh$$/ { print FILENAME } { nextfile }' | xargs shellcheck

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
	@mkdir -p $(CACHE) && cd tools && go build -o $(CACHE)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@rm -f $(CACHE)/.built-* && touch $@

$(GO_LICENSES):
	@mkdir -p $(CACHE) && rm -f $(CACHE)/go-licenses* && cd tools/licenses && go build -o $@ github.com/google/go-licenses/v2

$(GOTESTSUM):
	@mkdir -p $(CACHE) && rm -f $(CACHE)/gotestsum* && cd tools/gotestsum && go build -o $@ gotest.tools/gotestsum

# What runs the CI definitions: the deployer of the rig has this folder too.
CI_TOOLS := $(CACHE)/ci/.built-$(shell cat tools/act/go.sum tools/gitlab-ci-local/package-lock.json 2>/dev/null | sha256sum | cut -c1-12)

.PHONY: ci-tools
ci-tools: $(CI_TOOLS) ## Build what runs GitHub's and GitLab's definitions here: act, actionlint, gitlab-ci-local.
$(CI_TOOLS):
	@mkdir -p $(CACHE)/ci/gitlab-ci-local
	cd tools/act && go build -trimpath -ldflags '-s -w' -o $(CACHE)/ci/ github.com/nektos/act github.com/rhysd/actionlint/cmd/actionlint
	@command -v npm >/dev/null || { apt-get update && apt-get install -y --no-install-recommends npm; }
	cp tools/gitlab-ci-local/*.json $(CACHE)/ci/gitlab-ci-local/
	npm ci --prefix $(CACHE)/ci/gitlab-ci-local --ignore-scripts --no-audit --no-fund
	@rm -f $(CACHE)/ci/.built-* && touch $@
