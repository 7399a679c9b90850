# Runs "$@" and outlives it, so that it never outlives the process that asked for it.
# Standard input: a pipe whose other end is the parent; end of file means that the parent is gone.
# Standard output: what the parent reads, "pid N" and later "exit STATUS". Standard error: the program's log.
# The guard leads a process group of its own and the program is in it: one signal to the group reaches all of them.
exec 3<&0 </dev/null
trap : TERM INT HUP
"$@" >&2 3<&- &
child=$!
trap '' PIPE
echo "pid $child"
{
    trap '' TERM INT HUP
    while read -r _ <&3; do :; done
    kill -TERM 0
    kill -CONT 0
    sleep 5
    kill -KILL 0
} >/dev/null 2>&1 &
# A trapped signal interrupts `wait`; the program is gone only when no such process is left to signal.
while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || break
done
echo "exit $status"
kill -KILL 0
