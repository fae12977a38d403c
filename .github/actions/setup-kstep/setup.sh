#!/bin/bash
# Install a release of kstep into the runner's tool cache and add it to the PATH. The
# script install.sh of the repository downloads and verifies it. If the tool cache has the
# version, nothing is downloaded.
set -euo pipefail
umask 022

# shellcheck source=.github/actions/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh" 'setup kstep'

# installer runs install.sh. Its errors become an annotation.
installer() {
    local text status=0
    text=$(sh "$source/install.sh" "$@" 2>"$errors") || status=$?
    if [[ $status != 0 ]]; then die "$(<"$errors")"; fi
    echo "$text"
}

no_control version "$WANTED_VERSION"
no_control checksum "$WANTED_CHECKSUM"
no_control mirror-url "$MIRROR_URL"
[[ -z $WANTED_VERSION || $WANTED_VERSION =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] \
    || die "version: $WANTED_VERSION is not a version" 64
[[ -z $WANTED_CHECKSUM || $WANTED_CHECKSUM =~ ^[0-9A-Fa-f]{64}$ ]] \
    || die "checksum: give the 64 hexadecimal digits of SHA-256" 64
[[ -z $MIRROR_URL || $MIRROR_URL =~ ^https?:// ]] \
    || die "mirror-url: give an address that begins with https://" 64

source=$(cd -- "$GITHUB_ACTION_PATH/../../.." && pwd -P)
[[ -f $source/install.sh ]] || die "install.sh is not in $source; use the action with its whole repository"
errors=$(mktemp "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/setup-kstep.XXXXXXXX")
trap 'rm -f "$errors"' EXIT

version=$WANTED_VERSION
if [[ -z $version && -f $GITHUB_ACTION_PATH/version ]]; then
    version=$(<"$GITHUB_ACTION_PATH/version")
fi
if [[ -n $MIRROR_URL ]]; then export KSTEP_DOWNLOAD_URL=$MIRROR_URL; fi
checksum=$(tr A-F a-f <<<"$WANTED_CHECKSUM")

# die in a command substitution prints its annotation into the variable.
resolved=$(installer --resolve ${version:+"$version"}) || { echo "$resolved"; exit 1; }
read -r version os arch <<<"$resolved"
[[ $os != windows ]] || die "setup-kstep does not support runners with Windows; use Linux or macOS"

folder=${RUNNER_TOOL_CACHE:-${RUNNER_TEMP:-/tmp}/tools}/kstep/$version/$arch
program=$folder/kstep
no_control RUNNER_TOOL_CACHE "$program"

# The digest of the archive stays beside the program, so that a later job with the input
# checksum needs no download either.
from="the tool cache"
if [[ ! -x $program || -n $checksum && $(cat "$folder/archive.sha256" 2>/dev/null) != "$checksum" ]]; then
    from="a download"
    text=$(KSTEP_INSTALL_DIR=$folder KSTEP_CHECKSUM=$checksum installer "$version") || { echo "$text"; exit 1; }
    digest=${text#*archive sha256 }
    echo "${digest%%)*}" >"$folder/archive.sha256"
fi
is_safe "$program" \
    || die "$program belongs to another user or can be changed by all users; fix its owner and permissions, or remove it"

echo "kstep: $program ($version, $os/$arch), from $from"
echo "$folder" >>"$GITHUB_PATH"
{
    echo "version=$version"
    echo "path=$program"
} >>"$GITHUB_OUTPUT"
