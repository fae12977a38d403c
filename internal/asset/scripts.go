package asset

// A generation's files are in other folders by hard links: no bytes are copied,
// and each is there whole or not at all, also when the run is killed. A user who
// is not root may not link files of root's (fs.protected_hardlinks); there a
// copy is linked, which is theirs.

// overlay puts all that "$1" has over what "$2" has. A link and a rename exchange
// each file, so that one that is being served is never half there. BusyBox calls
// it an error if a file is linked already.
const overlay = `cp -a -l -f -- "$1/." "$2/" 2>/dev/null && exit
stage=$2.overlay
rm -rf -- "$stage" && cp -a -- "$1" "$stage" && cp -a -l -f -- "$stage/." "$2/" && rm -rf -- "$stage"`

// addMissing gives "$2" what it lacks of "$1". BusyBox leaves alone what is there,
// and links nothing when told to; coreutils have to be told. A file that was
// left alone is an error for BusyBox and coreutils 9.2, and none for 9.1 and 9.5, so
// after an error the outcome is asked for.
const addMissing = `lacks() {
	cd "$1" && exec find . \( -type f -o -type l \) -exec sh -c '
		for f; do [ -e "$0/$f" ] || [ -L "$0/$f" ] || { echo "$f"; exit; }; done' "$2" {} +
}
keep=-n
case $(cp --help 2>&1) in *BusyBox*) keep= ;; esac
cp -a -l $keep -- "$1/." "$2/" 2>/dev/null && exit
[ -n "$(lacks "$1" "$2")" ] || exit 0
stage=$2.lent
rm -rf -- "$stage" && cp -a -- "$1" "$stage" && cp -a -l $keep -- "$stage/." "$2/" 2>/dev/null
missing=$(lacks "$1" "$2")
rm -rf -- "$stage"
[ -z "$missing" ] || { echo "not copied: $missing" >&2; df -k "$2" >&2; exit 1; }`
