#!/bin/sh
# Install kstep:
#
#     sh install.sh [version]
#     sh install.sh --resolve [version]   print version, system and processor, install nothing
#
# The script downloads an archive and checksums.txt of a release, compares the SHA-256
# digest of the archive, and only then unpacks the program. Without a version it installs
# the latest release. These variables change what it does:
#
#     KSTEP_INSTALL_DIR    the folder of the program; default ~/.local/bin
#     KSTEP_DOWNLOAD_URL   the address above the folders of the versions; default
#                          https://github.com/kstep/kstep/releases/download. The latest
#                          release needs an address that ends with /releases/download
#     KSTEP_CHECKSUM       the SHA-256 digest that the archive must have, in place of the
#                          one in checksums.txt
#
# Everything is in functions, and the last line calls one, so that a truncated copy of this
# script does nothing.
set -eu

die() {
    printf 'install kstep: %s\n' "$1" >&2
    shift
    for hint; do printf '  hint: %s\n' "$hint" >&2; done
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# cleanup removes the temporary folder and the unfinished copy of the program.
cleanup() {
    if [ -n "$part" ]; then rm -f "$part"; fi
    if [ -n "$work" ]; then rm -rf "$work"; fi
}

# platform sets `os` and `arch` as in the names of the archives.
platform() {
    os=$(uname -s)
    arch=$(uname -m)
    case $os in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    MINGW* | MSYS* | CYGWIN*) os=windows ;;
    *) die "there is no kstep for the operating system $os" "build it with Go: make build" ;;
    esac
    case $arch in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) die "there is no kstep for the processor $arch" "build it with Go: make build" ;;
    esac
    # In a shell for amd64 on a Mac with another processor, uname shows amd64.
    if [ "$os/$arch" = darwin/amd64 ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || echo 0)" = 1 ]; then
        arch=arm64
    fi
}

# check_version refuses a name that could not be a version, because it becomes a part of
# addresses and paths. `1.2.3` means the release v1.2.3.
check_version() {
    case $version in
    '' | *[!A-Za-z0-9._+-]* | [!A-Za-z0-9]*)
        die "$(printf '%s' "$version" | LC_ALL=C tr -c 'A-Za-z0-9._+/ -' '?') is not a version" "use a version such as v1.2.3"
        ;;
    [0-9]*.[0-9]*) version=v$version ;;
    esac
}

# get runs wget. The wget of BusyBox 1.35 crashes with a timeout (-T), and has one already.
get() {
    case $(wget --version 2>/dev/null || true) in
    'GNU Wget'*) wget -S -T 20 -t 2 "$@" ;;
    *) wget -S "$@" ;;
    esac
}

# fetch downloads an address to a file. It prints the status of HTTP, or 000 if there was
# no answer. A redirect from HTTPS to HTTP is refused.
fetch() {
    only='=https'
    case $1 in http://*) only='=http,https' ;; esac
    if has curl; then
        status=$(curl --silent --show-error --location --proto "$only" --connect-timeout 20 --retry 2 \
            --output "$2" --write-out '%{http_code}' -- "$1" 2>"$work/why") || status=000
        echo "$status"
    elif has wget; then
        # BusyBox and GNU print the status line of each answer in different ways.
        if get -O "$2" "$1" >"$work/why" 2>&1; then
            echo 200
        else
            status=$(sed -n -e 's/^.*HTTP\/[0-9.]* \([0-9][0-9][0-9]\).*$/\1/p' "$work/why" | tail -n 1)
            case $status in '' | 200) echo 000 ;; *) echo "$status" ;; esac
        fi
    else
        die "neither curl nor wget is installed" "install curl"
    fi
}

# why prints the last line that the program for downloads reported.
why() {
    if [ -s "$work/why" ]; then printf ': %s' "$(tail -n 1 "$work/why" | LC_ALL=C tr -d '\000-\037\177')"; fi
}

# download gets a file of the release. The second argument is what it is.
download() {
    status=$(fetch "$base/$version/$1" "$work/$1")
    case $status in
    200) ;;
    404) die "$version has no $2 ($base/$version/$1 is not found)" "see the releases: https://github.com/kstep/kstep/releases" ;;
    000) die "could not download $base/$version/$1$(why)" "check the network and the proxy settings, or set KSTEP_DOWNLOAD_URL to a mirror" ;;
    *) die "could not download $base/$version/$1: status $status" ;;
    esac
    [ -s "$work/$1" ] || die "$base/$version/$1 is empty"
}

# latest sets `version` from the address to which the page of the latest release redirects.
latest() {
    case $base in
    */releases/download) page=${base%/download}/latest ;;
    *) die "$base does not name a latest release" "give a version: sh install.sh v1.2.3" ;;
    esac
    if has curl; then
        target=$(curl --silent --show-error --head --connect-timeout 20 --output /dev/null --write-out '%{redirect_url}' -- "$page" 2>"$work/why") \
            || die "could not find the latest release at $page$(why)" "check the network, or give a version: sh install.sh v1.2.3"
    elif has wget; then
        # Only the headers are needed; the page behind the redirect may fail.
        target=$(get -O /dev/null "$page" 2>&1 || true)
        target=$(printf '%s\n' "$target" | tr -d '\r' | sed -n 's/^ *[Ll]ocation: \([^ ]*\).*$/\1/p' | head -n 1)
    else
        die "neither curl nor wget is installed" "install curl"
    fi
    case $target in
    */releases/tag/*) version=${target##*/} ;;
    *) die "there is no latest release at $page" "give a version: sh install.sh v1.2.3, or build kstep with Go: make build" ;;
    esac
    check_version
}

sum() {
    if has sha256sum; then
        sha256sum <"$1"
    elif has shasum; then
        shasum -a 256 <"$1"
    else
        die "neither sha256sum nor shasum is installed, so the archive cannot be verified" "install coreutils or perl"
    fi
}

# verify compares the digest of the archive.
verify() {
    wanted=$(printf '%s' "${KSTEP_CHECKSUM-}" | tr 'A-F' 'a-f')
    from=KSTEP_CHECKSUM
    if [ -z "$wanted" ]; then
        download checksums.txt "checksums.txt"
        from=checksums.txt
        wanted=$(awk -v name="$archive" '$2 == name || $2 == "*" name { print $1; exit }' "$work/checksums.txt")
        [ -n "$wanted" ] || die "checksums.txt of $version has no line for $archive" "nothing was installed; report it to the maintainers"
    fi
    case $wanted in *[!0-9a-f]*) wanted='' ;; esac
    [ ${#wanted} = 64 ] || die "$from does not hold a SHA-256 digest for $archive" "a digest has 64 hexadecimal digits"
    actual=$(sum "$work/$archive")
    actual=${actual%% *}
    [ "$actual" = "$wanted" ] || die "the SHA-256 digest of $archive is $actual, and $from has $wanted" \
        "nothing was installed; the download is damaged or was changed: try again, and report it if it stays so"
}

# unpack puts the program into the folder in one step: rename(2) replaces a program that
# another process runs, and no reader sees a half file.
unpack() {
    program=kstep
    if [ "$os" = windows ]; then program=kstep.exe; fi
    mkdir "$work/unpacked"
    tar -xzf "$work/$archive" -C "$work/unpacked" "$program" 2>"$work/why" || die "could not unpack $program from $archive$(why)"
    if [ ! -f "$work/unpacked/$program" ] || [ -L "$work/unpacked/$program" ]; then
        die "$program in $archive is not a plain file"
    fi
    mkdir -p "$folder" 2>/dev/null || die "could not create the folder $folder" "set KSTEP_INSTALL_DIR to a folder that you may write to"
    [ ! -d "$folder/$program" ] || die "$folder/$program is a folder" "remove it, or set KSTEP_INSTALL_DIR"
    part=$(mktemp "$folder/.kstep.XXXXXXXX" 2>/dev/null) || {
        part=''
        die "the folder $folder is not writable" "set KSTEP_INSTALL_DIR to a folder that you may write to"
    }
    if ! cp "$work/unpacked/$program" "$part" 2>"$work/why" || ! chmod 755 "$part" || ! mv -f "$part" "$folder/$program"; then
        die "could not write $folder/$program$(why)"
    fi
    part=''
}

main() {
    work=''
    part=''
    resolve=''
    if [ "${1-}" = --resolve ]; then
        resolve=yes
        shift
    fi
    [ $# -le 1 ] || die "more than one argument" "use: sh install.sh [version]"
    version=${1-}
    base=${KSTEP_DOWNLOAD_URL:-https://github.com/kstep/kstep/releases/download}
    base=${base%/}
    folder=${KSTEP_INSTALL_DIR:-}
    if [ -z "$folder" ]; then
        [ -n "${HOME-}" ] || die "HOME is not set" "set KSTEP_INSTALL_DIR to the folder for the program"
        folder=$HOME/.local/bin
    fi
    case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
    platform
    if [ -n "$version" ]; then check_version; fi

    trap cleanup EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    work=$(mktemp -d "${TMPDIR:-/tmp}/kstep-install.XXXXXXXX") || die "could not create a temporary folder"
    if [ -z "$version" ]; then latest; fi
    if [ -n "$resolve" ]; then
        echo "$version $os $arch"
        exit 0
    fi
    archive=kstep_${version}_${os}_${arch}.tar.gz
    download "$archive" "archive for $os/$arch"
    verify
    unpack

    echo "installed kstep $version as $folder/$program (archive sha256 $actual)"
    case :${PATH-}: in
    *:"$folder":*) ;;
    *)
        echo "$folder is not on your PATH. Add this line to the profile of your shell:"
        # shellcheck disable=SC2016 # The user's shell expands it.
        printf '  export PATH="%s:$PATH"\n' "$folder"
        ;;
    esac
}

main "$@"
