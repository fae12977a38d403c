LC_ALL=C
export LC_ALL
mark() {
head -n "$2" | head -c 65536 | while IFS= read -r line; do
printf "%s %s\n" "$1" "$line"
done
}
date +%s 2>/dev/null | mark clock 1
[ ! -r "$1" ] || grep "^MemAvailable:" "$1" | mark memory 1
for table in "$2" "$3"; do
[ ! -r "$table" ] || { echo listeners; grep " 0A " "$table" | mark listen 400; }
done
ss -Hltnp 2>/dev/null | mark program 400
shift 3
n=0
for folder; do
while [ ! -d "$folder" ]; do
case $folder in
(/*/*) folder=${folder%/*} ;;
(*) folder=/ ;;
esac
done
df -Pk "$folder" 2>/dev/null | mark "space$n" 3
df -Pi "$folder" 2>/dev/null | mark "inodes$n" 3
n=$((n + 1))
done
exit 0
