# A deploy with make. Each state file is a target; its prerequisites are the files
# that its stage reads.
#
#   make -f kstep.mk          runs the missing stages for the current commit
#   make -f kstep.mk -j2 -O   the same, with assets and env-push in parallel
#
# Or `include kstep.mk` and add `deploy` as a prerequisite of your own target. Set
# flags in the environment: KSTEP_DESTINATION=staging make -f kstep.mk

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

# Check secrets, registry, hosts and lease before the build.
$(KSTEP_STATE_DIR)/build.json:
	$(KSTEP) preflight
	$(KSTEP) build

# Keep the state files when make is interrupted: they record where kstep stopped.
.PRECIOUS: $(kstep_files)

# A failed stage also writes its file. Run that stage again.
.PHONY: $(shell grep -lsE '^  "status": "(failed|partial|interrupted)"' $(kstep_files))

# Run the build again after a commit, after a rollback, and while there are
# uncommitted changes. kstep decides whether it has to build anything.
kstep_commit := $(shell git rev-parse HEAD)
ifneq (,$(shell git status --porcelain -- . ':!kstep-state' ':!$(KSTEP_STATE_DIR)'))
.PHONY: $(KSTEP_STATE_DIR)/build.json
else ifeq (,$(shell grep -s '"commit": "$(kstep_commit)"' $(KSTEP_STATE_DIR)/build.json))
.PHONY: $(KSTEP_STATE_DIR)/build.json
else ifneq (,$(shell grep -s '"goesBack": true' $(KSTEP_STATE_DIR)/push.json))
.PHONY: $(KSTEP_STATE_DIR)/build.json
endif
