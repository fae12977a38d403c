# Shared by up and down; sourced, never run, so it uses not all that it sets.
# shellcheck shell=bash disable=SC2034

rig=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
integration=$(dirname "$rig")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kstep-rig
ci_tools=${XDG_CACHE_HOME:-$HOME/.cache}/kstep-tools/ci
plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
mkdir -p "$cache"

# only_one waits until no other up or down works on this machine's engine. The lock
# is not in the cache: two processes may have different ones, and down removes it.
# What stays when this process ends, such as an engine, has to close descriptor 9.
only_one() {
    exec 9>/run/kstep-rig.lock
    flock --nonblock 9 && return
    say 'waiting for another up or down'
    flock 9
}

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

# port_of NUMBER is where a rig's registry listens on loopback. It lies below the
# ports that a kernel gives to clients by itself (32768 to 60999): one of those may
# belong to a client's connection, and for a minute after its end no server can
# listen on it ("address already in use").
port_of() { echo $((25499 + $1)); }

# digest prints one hash over the names and contents of the given files.
digest() { sha256sum "$@" | sed "s#$integration/##" | sha256sum | cut -c1-16; }
