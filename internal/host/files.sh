umask 077
unset CDPATH
LC_ALL=C
export LC_ALL
k_n="
"
cd || exit 1
case $(command -v printf) in
(printf) ;;
(*) exit 1 ;;
esac
k_gone() {
if [ -e "$1" ] || [ -L "$1" ]; then return 1; fi
k_p=$1
while :; do
case $k_p in
(/*/*|[!/]*/*) k_p=${k_p%/*} ;;
(/*) k_p=/ ;;
(*) k_p=. ;;
esac
if [ -e "$k_p" ] || [ -L "$k_p" ]; then
[ -d "$k_p" ] && [ -x "$k_p" ] && return 0
return 1
fi
done
}
k_missing() {
k_gone "$1" && return 44
return 1
}
k_home() { pwd -P; }
k_read() { cat "$1" || k_missing "$1"; }
k_stat() { stat -L -c "%f %s %Y" "$1" || k_missing "$1"; }
k_list() {
[ -d "$1" ] || { k_missing "$1"; return; }
[ -r "$1" ] && [ -x "$1" ] || return 1
(cd "$1" && stat -c "%f %s %Y %n/" ./ ./* ./.[!.]* ./..?*)
return 0
}
k_mkdir() {
[ -d "$2" ] && return 0
case $2 in
(/*/*|[!/]*/*) [ -d "${2%/*}" ] || k_mkdir "$1" "${2%/*}" || return 1 ;;
esac
mkdir -m "$1" "$2" || [ -d "$2" ]
}
k_temporary() {
[ -d "$5" ] || k_mkdir "$3" "$5" || return 1
umask "$1"
set -C
printf "$4" >"$6"
k_status=$?
set +C
umask 077
[ $k_status -eq 0 ] && dd if=/dev/null of="$6" conv=notrunc,fsync && [ "$(wc -c <"$6")" -eq "$2" ]
}
k_write() {
if [ "$5" != "${7%/*}" ]; then
[ "$(stat -c %d "$5")" = "$(stat -c %d "${7%/*}")" ] || return 1
fi
k_temporary "$@" && mv -f -T "$6" "$7" && return 0
rm -f "$6"
return 1
}
k_create() {
if [ -e "$7" ] || [ -L "$7" ]; then return 45; fi
if k_temporary "$@" && ln -T "$6" "$7"; then
rm -f "$6"
return 0
fi
rm -f "$6"
if [ -e "$7" ] || [ -L "$7" ]; then return 45; fi
return 1
}
k_append() {
[ -d "${3%/*}" ] || { k_missing "$3"; return; }
umask "$1"
printf "$2" >>"$3"
k_status=$?
umask 077
[ $k_status -eq 0 ] || return 1
wc -c <"$3"
}
k_remove() {
while [ $# -gt 1 ]; do
[ ! -L "$1" ] || return 1
[ -d "$1" ] || { k_missing "$1"; return; }
shift
done
if [ -L "$1" ] || [ -e "$1" ]; then
if [ -d "$1" ] && [ ! -L "$1" ]; then return 1; fi
rm -f "$1"
else
k_missing "$1"
fi
}
while IFS=" " read -r k_mark k_line; do
eval "$k_line" </dev/null 2>/dev/null
printf "\n%s %s\n" "$k_mark" "$?"
done
