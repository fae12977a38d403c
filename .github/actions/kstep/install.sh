#!/bin/bash
# Find or build the kstep that the stage runs, and set its path as the output `path`.
# The script uses the given program, the one on the PATH, or one that it builds with Go.
# It downloads no binaries, because there is no release yet.
set -euo pipefail

module=github.com/kstep/kstep

# shellcheck source=.github/actions/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" 'install kstep'

sum() {
    if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d' ' -f1
}

# version prints the first line of the output of `kstep version`.
version() {
    local text
    text=$("$1" version 2>&1) || die "$1 version ends with status $?; is it kstep?"
    text=${text%%$'\n'*}
    echo "${text//[[:cntrl:]]/ }"
}

use() {
    local has
    no_control "$2" "$1"
    has=$(version "$1")
    echo "kstep: $1 ($has, sha256 $(sum "$1")), $3"
    echo "path=$1" >>"$GITHUB_OUTPUT"
    exit 0
}

# is_wanted reports whether a kstep has the wanted version. `v1.2.3` (the form of Go)
# and `1.2.3` are the same.
is_wanted() {
    local has
    has=$("$1" version) || return 1
    has=${has#kstep }
    [[ -z $WANTED_VERSION || ${has#v} == "${WANTED_VERSION#v}" ]]
}

no_control kstep-path "$WANTED_PATH"
no_control kstep-version "$WANTED_VERSION"
[[ -z $WANTED_VERSION || $WANTED_VERSION =~ ^[A-Za-z0-9][A-Za-z0-9._+~-]*$ ]] \
    || die "kstep-version: $WANTED_VERSION is neither a version nor a commit" 64

if [[ -n $WANTED_PATH ]]; then
    [[ -f $WANTED_PATH && -x $WANTED_PATH ]] || die "kstep-path: $WANTED_PATH is no program"
    use "$(realpath -- "$WANTED_PATH")" kstep-path "of the input kstep-path"
fi
if found=$(type -P kstep); then
    is_safe "$found" \
        || die "$found, on the PATH, belongs to another user or can be changed by all users; give the input kstep-path, or fix its owner and permissions"
    if is_wanted "$found"; then
        use "$found" PATH "on the PATH"
    fi
fi
command -v go >/dev/null \
    || die "kstep ${WANTED_VERSION:+$WANTED_VERSION }is not on the PATH, and there is no Go to build it; install kstep on the runner, or run actions/setup-go before"

# Each build gets a new folder, because the content of an existing one may come from
# another step. Go caches compiled packages, so a second build is fast.
if [[ -n $WANTED_VERSION ]]; then
    commit=$WANTED_VERSION
else
    source=$(realpath -- "$GITHUB_ACTION_PATH/../../..")
    [[ -f $source/cmd/kstep/main.go ]] || die "the action's own repository is not at $source; give kstep-version or kstep-path"
    # GitHub fetches an action into a folder with the name of its commit or branch.
    commit=$(git -C "$source" rev-parse --short=12 HEAD 2>/dev/null) || commit=$(basename "$source")
fi
folder=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/kstep-${commit//[^A-Za-z0-9._-]/_}.XXXXXXXX")
export CGO_ENABLED=0 GOBIN=$folder
if [[ -n $WANTED_VERSION ]]; then
    # Go checks the source against its checksum database.
    go install -trimpath "$module/cmd/kstep@$WANTED_VERSION"
else
    go -C "$source" install -trimpath ./cmd/kstep
fi
use "$folder/kstep" RUNNER_TEMP "built by $(go env GOVERSION)"
