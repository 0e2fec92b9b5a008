#!/bin/sh
# Tests packaging/sipban.init, every action and every exit code, with a small daemon in place of the real one.
#
# Everything lies in a folder of its own; nothing is installed, no root needed.
set -eu
cd "$(dirname "$0")/.."

# Not under /etc/init.d, so that a machine with systemd does not hand the calls over to systemctl.
dir=$(mktemp -d)
script=$dir/init
stranger=

finish() {
    if pid=$(cat "$dir/sipban.pid" 2>/dev/null) && [ "$pid" != "$stranger" ]; then
        kill -9 "$pid" 2>/dev/null || true
    fi
    if [ -n "$stranger" ]; then
        kill "$stranger" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT

mkdir "$dir/bin"
cat >"$dir/bin/sipban" <<'DAEMON'
#!/bin/sh
# Keeps the promises of `sipban -d`: exit 0 once the daemon runs and its pid is in the file.
[ -n "${BACKGROUND:-}" ] || echo "$@" >>"$LOG"
[ "$1 $2 $3 $4" = "-d -c $CONFIG --pid-file" ] || exit 64
case $(cat "$CONFIG") in
    bad) exit 78 ;;
    broken) exit 1 ;;
esac
if [ -z "${BACKGROUND:-}" ]; then
    BACKGROUND=yes "$0" "$@" </dev/null >/dev/null 2>&1 &
    until grep -q . "$5" 2>/dev/null && [ "$(cat "$5")" = $! ]; do sleep 0.05; done
    exit 0
fi
trap 'echo reloaded >>"$LOG"' HUP
case $(cat "$CONFIG") in
    stubborn) trap '' TERM ;;
    slow) trap 'rm "$5"; sleep 1; echo stopped >>"$LOG"; exit 0' TERM ;;
    *) trap 'rm "$5"; echo stopped >>"$LOG"; exit 0' TERM ;;
esac
echo $$ >"$5"
while :; do sleep 0.05; done
DAEMON
chmod +x "$dir/bin/sipban"

export LOG="$dir/log" CONFIG="$dir/sipban.conf"
sed -e "s|^DAEMON=.*|DAEMON=$dir/bin/sipban|" \
    -e "s|^CONFIG=.*|CONFIG=$CONFIG|" \
    -e "s|^PIDFILE=.*|PIDFILE=$dir/sipban.pid|" \
    -e "s|^STOP_SECONDS=.*|STOP_SECONDS=2|" \
    -e "s|^DEFAULTS=.*|DEFAULTS=$dir/default|" \
    -e "s|^SUBSYS=.*|SUBSYS=$dir/subsys/sipban|" packaging/sipban.init >"$script"
chmod +x "$script"
: >"$LOG"

fail() {
    echo "init.sh: $*" >&2
    sed 's/^/    /' "$dir/output" >&2
    exit 1
}

# expect CODE ACTION...: runs the script and compares its exit code.
expect() {
    wanted=$1
    shift
    code=0
    "$script" "$@" >"$dir/output" 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] || fail "\`$*\` answered $code, not $wanted ($what)"
}

# logged TEXT: waits until the daemon has written this line.
logged() {
    tries=600
    until grep -qx -e "$1" "$LOG"; do
        [ "$tries" -gt 0 ] || fail "the daemon never wrote \`$1\` ($what)"
        tries=$((tries - 1))
        sleep 0.05
    done
    : >"$LOG"
}

configure() {
    echo "$1" >"$CONFIG"
}

what="wrong arguments"
expect 2
expect 2 frobnicate
expect 2 start now

what="not configured"
expect 6 start
configure bad
expect 6 start
configure broken
expect 1 start
expect 3 status

what="not installed"
configure good
chmod -x "$dir/bin/sipban"
expect 5 start
chmod +x "$dir/bin/sipban"

what="stopped"
expect 3 status
expect 0 stop
expect 7 reload
expect 7 force-reload
expect 0 condrestart
expect 0 try-restart
expect 3 status

what="running"
mkdir "$dir/subsys"
expect 0 start
expect 0 status
first=$(cat "$dir/sipban.pid")
grep -q "pid $first" "$dir/output" || fail "status does not name pid $first"
[ -e "$dir/subsys/sipban" ] || fail "start left no file in subsys"
expect 0 start
[ "$(cat "$dir/sipban.pid")" = "$first" ] || fail "a second start made a second daemon"
expect 0 reload
logged reloaded
expect 0 force-reload
logged reloaded

what="restart"
expect 0 restart
logged stopped
second=$(cat "$dir/sipban.pid")
[ "$second" != "$first" ] || fail "restart left the same process"
expect 0 condrestart
logged stopped
expect 0 try-restart
logged stopped
[ "$(cat "$dir/sipban.pid")" != "$second" ] || fail "try-restart left the same process"
expect 0 stop
logged stopped
expect 3 status
[ ! -e "$dir/subsys/sipban" ] || fail "stop left its file in subsys"
expect 0 restart
expect 0 status
expect 0 stop

what="options of the defaults file"
echo 'OPTIONS="--one --two"' >"$dir/default"
expect 0 start
logged "-d -c $CONFIG --pid-file $dir/sipban.pid --one --two"
rm "$dir/default"
expect 0 stop

what="a daemon that drops its pid file long before it ends"
configure slow
expect 0 start
: >"$LOG"
expect 0 stop
grep -qx stopped "$LOG" || fail "stop did not wait for the end"

what="a daemon that ignores TERM"
configure stubborn
expect 0 start
pid=$(cat "$dir/sipban.pid")
expect 0 stop
! grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status" || fail "the daemon survived"
expect 3 status
configure good

what="the pid file of a dead daemon, its pid now that of a stranger"
sleep 1000 &
stranger=$!
echo "$stranger" >"$dir/sipban.pid"
expect 1 status
expect 7 reload
expect 0 stop
kill -0 "$stranger" || fail "stop killed a stranger"
echo "$stranger" >"$dir/sipban.pid"
expect 0 start
expect 0 status
[ "$(cat "$dir/sipban.pid")" != "$stranger" ] || fail "start took a stranger for the daemon"
kill -0 "$stranger" || fail "start killed a stranger"
expect 0 stop

what="a pid file without a pid"
for content in '' 'nonsense' '../1' '-1'; do
    echo "$content" >"$dir/sipban.pid"
    expect 1 status
done
printf '%s' "$stranger" >"$dir/sipban.pid"
expect 1 status
expect 0 start
expect 0 stop

if [ "$(id -u)" -ne 0 ]; then
    what="rights"
    : >"$dir/sipban.pid"
    chmod 0 "$dir/sipban.pid"
    expect 4 status
    expect 4 stop
    rm -f "$dir/sipban.pid"
    chmod a-w "$dir"
    code=0
    "$script" start >/dev/null 2>&1 || code=$?
    chmod u+w "$dir"
    [ "$code" -eq 4 ] || fail "start without rights answered $code, not 4"
fi
echo "init.sh: all true"
