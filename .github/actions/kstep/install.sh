#!/bin/bash
# Finds or makes the kstep that the stage runs, and tells its path as the output
# `path`: the given one, one on the PATH, or one built by Go. Binaries of a
# release are not downloaded: there is no release yet.
set -euo pipefail

# The same commit always builds the same program, so later steps of the job find
# it there.
folder=${RUNNER_TEMP:-/tmp}/kstep-${WANTED_VERSION:-of-action}
module=github.com/kstep/kstep

die() {
    echo "::error title=install kstep::$1"
    exit 1
}

use() {
    echo "kstep: $1 ($("$1" version))"
    echo "path=$1" >>"$GITHUB_OUTPUT"
    exit 0
}

# is_wanted tells whether a kstep is of the wanted version. `v1.2.3`, Go's way to
# write it, and `1.2.3` are the same.
is_wanted() {
    local has
    has=$("$1" version) || return 1
    has=${has#kstep }
    [[ -z $WANTED_VERSION || ${has#v} == "${WANTED_VERSION#v}" ]]
}

if [[ -n $WANTED_PATH ]]; then
    [[ -x $WANTED_PATH ]] || die "kstep-path: $WANTED_PATH is no program"
    use "$(realpath "$WANTED_PATH")"
fi
if found=$(command -v kstep) && is_wanted "$found"; then
    use "$found"
fi
if [[ -x $folder/kstep ]]; then
    use "$folder/kstep"
fi
command -v go >/dev/null \
    || die "kstep ${WANTED_VERSION:+$WANTED_VERSION }is not on the PATH, and there is no Go to build it; install kstep on the runner, or run actions/setup-go before"

export CGO_ENABLED=0 GOBIN=$folder
if [[ -n $WANTED_VERSION ]]; then
    # Go checks the source against its checksum database.
    go install -trimpath "$module/cmd/kstep@$WANTED_VERSION"
else
    source=$(realpath "$GITHUB_ACTION_PATH/../../..")
    [[ -f $source/cmd/kstep/main.go ]] || die "the action's own repository is not at $source; give kstep-version or kstep-path"
    go -C "$source" install -trimpath ./cmd/kstep
fi
use "$folder/kstep"
