# A deploy by make: each state file is a target, made from those it reads.
#
#   make -f kstep.mk          deploys what is missing of the current commit
#   make -f kstep.mk -j2 -O   the same, with assets and env-push side by side
#
# Or `include kstep.mk` and let a target of yours depend on `deploy`. Flags go
# into the environment: KSTEP_DESTINATION=staging make -f kstep.mk

KSTEP ?= kstep
KSTEP_STATE_DIR ?= kstep-state$(if $(KSTEP_DESTINATION),/$(KSTEP_DESTINATION))
export KSTEP_STATE_DIR

kstep_stages := build push assets env-push boot barrier-wait cutover prune
kstep_files  := $(kstep_stages:%=$(KSTEP_STATE_DIR)/%.json)

.PHONY: deploy
deploy: $(KSTEP_STATE_DIR)/prune.json

$(KSTEP_STATE_DIR)/push.json: $(KSTEP_STATE_DIR)/build.json
$(KSTEP_STATE_DIR)/assets.json: $(KSTEP_STATE_DIR)/push.json
$(KSTEP_STATE_DIR)/env-push.json: $(KSTEP_STATE_DIR)/push.json
$(KSTEP_STATE_DIR)/boot.json: $(KSTEP_STATE_DIR)/push.json $(KSTEP_STATE_DIR)/assets.json $(KSTEP_STATE_DIR)/env-push.json
$(KSTEP_STATE_DIR)/barrier-wait.json: $(KSTEP_STATE_DIR)/boot.json
$(KSTEP_STATE_DIR)/cutover.json: $(KSTEP_STATE_DIR)/push.json $(KSTEP_STATE_DIR)/boot.json $(KSTEP_STATE_DIR)/barrier-wait.json
$(KSTEP_STATE_DIR)/prune.json: $(KSTEP_STATE_DIR)/cutover.json

$(filter-out %/build.json,$(kstep_files)): $(KSTEP_STATE_DIR)/%.json:
	$(KSTEP) $*

# Secrets, registry, hosts and lease are checked before anything is built.
$(KSTEP_STATE_DIR)/build.json:
	$(KSTEP) preflight
	$(KSTEP) build

# When interrupted, make would delete the file that tells where kstep stopped.
.PRECIOUS: $(kstep_files)

# A stage that failed leaves its file as well: that one is made again.
.PHONY: $(shell grep -lsE '^  "status": "(failed|partial|interrupted)"' $(kstep_files))

# The build is looked at again after a commit, while there are changes that are
# not committed, and after a rollback; kstep tells whether anything is to be built.
kstep_commit := $(shell git rev-parse HEAD)
ifneq (,$(shell git status --porcelain -- . ':!kstep-state' ':!$(KSTEP_STATE_DIR)'))
.PHONY: $(KSTEP_STATE_DIR)/build.json
else ifeq (,$(shell grep -s '"commit": "$(kstep_commit)"' $(KSTEP_STATE_DIR)/build.json))
.PHONY: $(KSTEP_STATE_DIR)/build.json
else ifneq (,$(shell grep -s '"goesBack": true' $(KSTEP_STATE_DIR)/push.json))
.PHONY: $(KSTEP_STATE_DIR)/build.json
endif
