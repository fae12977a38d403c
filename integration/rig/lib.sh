# Shared by up and down; sourced, never run, so it uses not all that it sets.
# shellcheck shell=bash disable=SC2034

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
integration=$(dirname "$rig")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kstep-rig
ci_tools=${XDG_CACHE_HOME:-$HOME/.cache}/kstep-tools/ci
plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
mkdir -p "$cache"

say() { echo "rig: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# timed NAME COMMAND… runs the command, prints how long it took if that is worth
# a line, and shows its output only when it fails.
timed() {
    local name=$1 from=$EPOCHREALTIME log status
    shift
    log=$(mktemp)
    # Not `if ! "$@"`: a condition switches errexit off in all that it calls.
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    status=$?
    set -e
    ((status == 0)) || cat "$log" >&2
    rm -f "$log"
    ((status == 0)) || die "$name failed"
    local ms=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    ((ms < 200)) || say "$(printf '%-34s %4d.%d s' "$name" $((ms / 1000)) $((ms % 1000 / 100)))"
}

# engine_answers is true when the docker client reaches an engine.
engine_answers() { docker version >/dev/null 2>&1; }

# own_engine prints the pid of the engine that this rig started, if it runs.
own_engine() {
    local pid
    pid=$(cat "$cache/dockerd.pid" 2>/dev/null) || return 1
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] || return 1
    echo "$pid"
}

# compose_of NUMBER COMMAND… is for one of several rigs that have everything twice
# but their images.
compose_of() {
    local number=$1
    shift
    KSTEP_RIG_NET=172.30.$((100 - number)) KSTEP_RIG_PORT=$(port_of "$number") KSTEP_RIG_NUMBER=$(suffix_of "$number") \
        docker compose --project-name "kstep-rig$(suffix_of "$number")" \
        --project-directory "$rig" --file "$rig/compose.yml" "$@"
}

# The first one has the plain names.
suffix_of() { (($1 == 1)) || echo "-$1"; }
port_of() { echo $((54999 + $1)); }

# digest prints one hash over the names and contents of the given files.
digest() { sha256sum "$@" | sed "s#$integration/##" | sha256sum | cut -c1-16; }
