# Waits until the proxy has no connection to containers, and prints one line:
# "open" and, for each container, how many connections are left, "idle" (some
# are, and nothing was sent for a while), "gone" (the process has ended) or
# "hidden" (its sockets cannot be read).
#
# Needs a POSIX shell, grep and sleep, and no privileges.
#
# $1 a file like /proc/uptime   $2 seconds until the first look
# $3 the limit, in 1/100 s      $4 the proxy's addresses, as in /proc/net/tcp
# $5 the silence after which connections that are kept count as idle, in 1/100 s
# $6… for each container DIR=FILE=PATTERN: the folder of its process in /proc,
#     and what one of its files must contain to be this container's. A "~" before
#     it: the proxy keeps connections to this one that have no request.
LC_ALL=C
export LC_ALL
uptime=$1 settle=$2 limit=$3 peers=$4 silence=$5
shift 5

clock() {
	read -r up rest <"$uptime" || exit 3
	part=1${up#*.}
	up=${up%%.*}
	now=$(((up - first) * 100 + part - 100))
}

pause() { sleep "$1" 2>/dev/null || sleep 1; }

# What the network of $dir has sent, by all interfaces but its own loopback.
measure() {
	sent=
	while read -r line; do
		case $line in
		lo:*) ;;
		*:*)
			# shellcheck disable=SC2086 # Numbers.
			set -- ${line#*:}
			sent="$sent ${9-}"
			;;
		esac
	done <"$dir/net/dev"
}

# Look at the container $1, the one with the number $i.
look() {
	dir=${1%%=*}
	known=${1#*=}
	keeps=no
	case $dir in
	"~"*) keeps=yes dir=${dir#"~"} ;;
	esac
	word=gone
	[ -d "$dir" ] || return 0
	word=hidden
	[ -r "$dir/net/tcp" ] || return 0
	if [ "$looks" = 0 ]; then
		grep -q -E "${known#*=}" "$dir/net/${known%%=*}" 2>/dev/null || return 0
		ports=
		for socket in $(grep -h -o -E ': [0-9A-F]+:[0-9A-F]{4} 0+:0000 0A ' "$dir/net/tcp" "$dir/net/tcp6" 2>/dev/null); do
			case $socket in
			*:0000 | : | 0A) ;;
			*) ports="$ports|${socket##*:}" ;;
			esac
		done
		[ -n "$ports" ] || ports='|[0-9A-F]{4}' # It has closed its listener.
		eval "ports_$i=\${ports#|}"
	fi
	eval "ports=\$ports_$i"
	word=0
	for count in $(grep -h -c -E ": [0-9A-F]+:($ports) ($peers):[0-9A-F]{4} 0[134] " "$dir/net/tcp" "$dir/net/tcp6" 2>/dev/null); do
		word=$((word + count))
	done
	if [ "$word" = 0 ] || [ "$keeps" = no ] || [ ! -r "$dir/net/dev" ]; then
		return 0
	fi
	measure 2>/dev/null
	eval "before=\${sent_$i-} since=\${since_$i-}"
	if [ -z "$sent" ] || [ "$sent" != "$before" ] || [ -z "$since" ]; then
		eval "sent_$i=\$sent since_$i=\$now"
	elif [ $((now - since)) -ge "$silence" ]; then
		word=idle
	fi
}

first=0 looks=0
clock
first=$up
limit=$((limit + part - 100))
[ "$settle" = 0 ] || pause "$settle"
while :; do
	clock
	report='' left=no i=0
	for one; do
		i=$((i + 1))
		look "$one"
		report="$report $word"
		case $word in
		0 | idle | gone) ;;
		hidden)
			left=no
			break
			;;
		*) left=yes ;;
		esac
	done
	if [ "$left" = no ] || [ "$now" -ge "$limit" ]; then
		break
	fi
	looks=$((looks + 1))
	if [ "$looks" -lt 40 ]; then pause 0.05; else pause 0.2; fi
done
printf 'open%s\n' "$report"
