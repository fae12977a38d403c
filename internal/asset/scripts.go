package asset

import (
	"context"
	"fmt"
	"strings"
)

// A generation's files are in other folders by hard links: no bytes are copied,
// and each is there whole or not at all, also when the run is killed. A user who
// is not root may not link files of root's (fs.protected_hardlinks); there a
// copy is linked, which is theirs. Where $copies is set, a copy is linked in any
// case: a file that a container can write into is in no other folder.

// places are two functions about the names of two trees. Where one tree has a folder and
// the other one something else at the same name, only one of them can be there.
const places = `folder() { [ -d "$1" ] && [ ! -L "$1" ]; }
there() { [ -e "$1" ] || [ -L "$1" ]; }
`

// modes is a function about the folders of "$1" that "$2" has too, with another mode or
// owner: it prints one of them, or with "$3" gives them all what they have in "$2". A
// user who is not root cannot give a folder away; the mode counts then. Five digits
// also clear the bits that four leave alone on a folder.
const modes = `modes() {
	cd "$1" && exec find . -type d -exec sh -c '` + places + `
		own=$0 fix=$1
		shift
		for d; do
			shift
			! folder "$own/$d" || set -- "$@" "$own/$d" "$d"
		done
		[ $# -gt 0 ] || exit 0
		stat -c "%a %u:%g" -- "$@" | while read -r mode owner && read -r now whose; do
			if [ "$mode $owner" != "$now $whose" ]; then
				[ -n "$fix" ] || { echo "$2"; exit; }
				[ "$owner" = "$whose" ] || chown -- "$owner" "$2" 2>/dev/null
				chmod -- "00$mode" "$2"
			fi
			shift 2
		done' "$2" "$3" {} +
}
`

// staged is a function that makes "$2" a tree of its own with what "$1" has.
const staged = `staged() {
	rm -rf -- "$2"
	[ -z "$copies" ] && cp -a -l -- "$1" "$2" 2>/dev/null || { rm -rf -- "$2" && cp -a -- "$1" "$2"; }
}
`

// addMissing is a function that gives "$2" what it lacks of "$1". "$3" is the own folder
// of the version that "$2" is of: folders that this version has keep its mode and owner,
// which cp would change to those of "$1". BusyBox keeps existing files, and links
// nothing with -n; coreutils need -n. A file that was left alone is an error for BusyBox
// and coreutils 9.2, and none for 9.1 and 9.5, so after an error the outcome is checked.
// A file is not lacking where "$2" has something else in place of its folder.
const addMissing = modes + staged + `lacks() {
	cd "$1" && exec find . \( -type f -o -type l \) -exec sh -c '` + places + `
		for f; do
			there "$0/$f" && continue
			up=${f%/*}
			while [ "$up" != . ]; do
				there "$0/$up" && { folder "$0/$up" || continue 2; }
				up=${up%/*}
			done
			echo "$f"; exit
		done' "$2" {} +
}
keep=-n
case $(cp --help 2>&1) in *BusyBox*) keep= ;; esac
add() {
	differ=$(modes "$1" "$3" "")
	[ -n "$copies$differ" ] || { cp -a -l $keep -- "$1/." "$2/" 2>/dev/null && return; }
	[ -n "$(lacks "$1" "$2")" ] || return 0
	stage=$2.lent
	staged "$1" "$stage" &&
		{ [ -z "$differ" ] || (modes "$stage" "$3" fix); } && cp -a -l $keep -- "$stage/." "$2/" 2>/dev/null
	missing=$(lacks "$1" "$2")
	rm -rf -- "$stage"
	[ -z "$missing" ] || { echo "not copied: $missing" >&2; df -k "$2" >&2; exit 1; }
}
`

// overlay puts all that "$1" has over what "$2" has, in folders that have the mode and
// owner of "$3" as in addMissing: first makes way where only one of
// the two can be, then adds what is missing, then renames each other file over the one
// that is there, so that one that is being served is never missing and never half there.
// `cp -l -f` of BusyBox removes the old name before it makes the new one.
const overlay = addMissing + `stage=$2.overlay
staged "$1" "$stage" || exit
(modes "$stage" "$3" fix) || exit
cd "$stage" && find . -exec sh -c '` + places + `
	for f; do
		there "$0/$f" || continue
		if folder "$f"; then folder "$0/$f" || rm -f -- "$0/$f"; else ! folder "$0/$f" || rm -rf -- "$0/$f"; fi || exit
	done' "$2" {} + && copies= && add "$stage" "$2" "$3" && find . ! -type d -exec sh -c '
	same() {
		if [ -L "$1" ] || [ -L "$2" ]; then [ "$(readlink "$1")" = "$(readlink "$2")" ]; else [ "$1" -ef "$2" ]; fi
	}
	for f; do same "$f" "$0/$f" || mv -f -- "$f" "$0/$f" || exit; done' "$2" {} + && rm -rf -- "$stage"`

// fill makes "$2" anew, with what "$1" has.
const fill = `chmod 0700 -- "$0" && rm -rf -- "$2" && mkdir -p -m 0755 -- "$2" || exit
[ -n "$copies" ] || { cp -a -l -- "$1/." "$2/" 2>/dev/null && exit; }
rm -rf -- "$2" && cp -a -- "$1" "$2"`

// loan is a folder that gets what it lacks of another. The files come as copies or
// as links. own has the files of the version that the folder is of.
type loan struct {
	from, to, own tree
	copies        bool
}

// lend makes loans, by one command.
func (b Bridge) lend(ctx context.Context, what string, loans ...loan) error {
	if len(loans) == 0 {
		return nil
	}
	var trees []tree
	for _, l := range loans {
		trees = append(trees, l.from, l.to, l.own)
	}
	_, err := b.command(ctx, what, lending(loans...), trees...)
	return err
}

func lending(loans ...loan) string {
	var script strings.Builder
	script.WriteString(addMissing)
	for i, l := range loans {
		script.WriteString(copying(l.copies))
		fmt.Fprintf(&script, "add \"${%d}\" \"${%d}\" \"${%d}\"\n", 3*i+1, 3*i+2, 3*i+3)
	}
	return script.String()
}

// copy runs overlay or fill. own has the files of the version that to is of.
func (b Bridge) copy(ctx context.Context, what, script string, from, to, own tree, copies bool) error {
	_, err := b.command(ctx, what, copying(copies)+script, from, to, own)
	return err
}

func copying(copies bool) string {
	if copies {
		return "copies=yes\n"
	}
	return "copies=\n"
}

// clear removes folders, and closes the folder of all assets to other users. A
// kstep before made that one with another mode.
func (b Bridge) clear(ctx context.Context, trees ...tree) error {
	_, err := b.command(ctx, "clear asset folder", `chmod 0700 -- "$0" && rm -rf -- "$@"`, trees...)
	return err
}

// names are all paths below a folder.
func (b Bridge) names(ctx context.Context, of tree) (map[string]bool, error) {
	found, err := b.command(ctx, "list assets", `find "$1" -mindepth 1 -print0`, of)
	names := map[string]bool{}
	for text := range strings.SplitSeq(string(found), "\x00") {
		if name, below := strings.CutPrefix(text, of.path+"/"); below {
			names[name] = true
		}
	}
	return names, err
}

// command is the only way to a command of the host here, and takes only trees.
func (b Bridge) command(ctx context.Context, what, script string, trees ...tree) ([]byte, error) {
	argv := []string{"sh", "-c", script, b.Root} // As $0.
	if b.Sudo {
		argv = append([]string{"sudo", "-n"}, argv...)
	}
	for _, t := range trees {
		if t == (tree{}) {
			return nil, fmt.Errorf("%s: a container can write in the folder", what)
		}
		argv = append(argv, t.path)
	}
	out, err := b.Host.Run(ctx, argv, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}
