#!/bin/bash
# Shows SIPban at work: demo.sh BINARY
#
# A PBX and its callers in two network namespaces of their own, joined by a cable: recorded streams of a real
# Asterisk are played to SIPban, which blocks with the system's iptables, and real packets show who still gets
# through. The machine's own network, rules and files are not touched. Ends by itself, 0 if all was as it should be.
set -eu

binary=$(realpath "$1")
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

if [ "$(id -u)" -ne 0 ]; then
    echo "Network namespaces need root: calling sudo"
    exec sudo "$0" "$binary"
fi

streams=tests/captures/ast22
pbx=sipban-demo-pbx-$$
world=sipban-demo-world-$$
dir=$(mktemp -d)
control=4451
secret=demo

pbx4=198.18.0.1 pbx6=2001:db8:18::1
attackers=(198.18.0.11 198.18.0.12 198.18.0.20 2001:db8:18::11)
phones=(198.18.0.100 2001:db8:18::100)

finish() {
    local namespace
    for namespace in "$pbx" "$world"; do
        ip netns pids "$namespace" 2>/dev/null | xargs -r kill -KILL
        ip netns del "$namespace" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }

# run COMMAND...: shows a command of the administrator's and what it answers on the PBX.
run() {
    printf '[root@pbx ~]# %s\n' "$*"
    on_pbx "$@"
}

on_pbx() { ip netns exec "$pbx" "$@"; }

# Waits for a command to succeed, 15 seconds at most.
wait_for() {
    local tries=150
    until "$@"; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.1
    done
}

untrue=0
# check TEXT COMMAND...: one sentence of the verdict.
check() {
    local text=$1
    shift
    if "$@"; then
        echo "   true: $text"
    else
        echo "  FALSE: $text"
        untrue=$((untrue + 1))
    fi
}

give_up() {
    echo "demo.sh: $*" >&2
    tail -n 20 "$dir"/*.out "$dir"/sipban.log >&2 2>/dev/null || true
    exit 1
}

own_address_of() { case $1 in *:*) echo "$pbx6" ;; *) echo "$pbx4" ;; esac; }

# knock TEXT ADDRESS...: a packet from each of these addresses to the PBX's SIP port.
knock() {
    local text=$1 address
    shift
    for address; do
        ip netns exec "$world" python3 tests/demo/packet.py send "$address" "$(own_address_of "$address")" "$text"
    done
}

arrived() { grep -qxF "$1 $2" "$dir/packets"; }
stayed_out() { ! arrived "$@"; }
logged() { grep -qF -- "$1" "$dir/sipban.log" 2>/dev/null; }
played() { grep -qx played "$dir/asterisk.out"; }
ended() { ! kill -0 "$sipban" 2>/dev/null; }
ended_cleanly() { wait_for ended && wait "$sipban"; }
none_in() { ! on_pbx "$1" -S sipban-udp >"$dir/none_in.out" 2>&1; }
jump_is_first() { on_pbx "$1" -S INPUT | sed -n 2p | grep -q -e '-j sipban-udp$'; }
# Whom the chains block, sorted, a line each.
blocked() { { on_pbx iptables -S sipban-udp && on_pbx ip6tables -S sipban-udp; } | sed -n 's|.* -s \([^/ ]*\).*|\1|p' | sort; }
expected() { printf '%s\n' "${attackers[@]}" | sort; }
all_blocked() { [ "$(blocked 2>/dev/null)" = "$(expected)" ]; }

say "A PBX ($pbx4, $pbx6), attackers and honest phones, each in a network namespace of this demo's own"
ip netns add "$pbx" || give_up "this machine lets nobody make network namespaces (a container without rights?)"
ip netns add "$world"
ip -n "$pbx" link add pbx type veth peer name world netns "$world"
ip -n "$pbx" address add "$pbx4/16" dev pbx
ip -n "$pbx" address add "$pbx6/64" dev pbx nodad
for address in "${attackers[@]}" "${phones[@]}"; do
    case $address in
        *:*) ip -n "$world" address add "$address/64" dev world nodad ;;
        *) ip -n "$world" address add "$address/16" dev world ;;
    esac
done
ip -n "$pbx" link set lo up
ip -n "$pbx" link set pbx up
ip -n "$world" link set world up

# Not through on_pbx: a function in the background has a shell around it, which signals would stop at.
ip netns exec "$pbx" python3 tests/demo/packet.py listen "$dir/packets" &
disown
wait_for grep -qsx listening "$dir/packets" || give_up "the listener on the SIP port did not start"

say "Before: a SIP packet from each of them reaches the PBX"
knock before "${attackers[@]}" "${phones[@]}"
for address in "${attackers[@]}" "${phones[@]}"; do
    check "a packet from $address arrives" wait_for arrived "$address" before
done

say "SIPban starts, and an Asterisk plays it what real ones sent under attack, five times as fast"
cat >"$dir/sipban.conf" <<END
[ami]
host = "127.0.0.1"
port = "5038"
user = "sipban"
pass = "$secret"
[control]
port = "$control"
[iptables]
chain = "sipban-udp"
rule = "DROP"
white_list = "$dir/sipban.wl"
dump = "$dir/sipban.dump"
[state]
file = "$dir/bans"
[log]
file = "$dir/sipban.log"
END
chmod 600 "$dir/sipban.conf"
: >"$dir/sipban.wl"
ip netns exec "$pbx" python3 tests/demo/play.py --secret "$secret" --speed 5 "$streams"/svcrack.ami \
    "$streams"/enum-register.ami "$streams"/legit-pjsip.ami "$streams"/inject-user.ami >"$dir/asterisk.out" 2>&1 &
disown
wait_for grep -qs ^listening "$dir/asterisk.out" || give_up "the Asterisk of the demo did not start"
ip netns exec "$pbx" "$binary" -c "$dir/sipban.conf" >"$dir/sipban.out" 2>&1 &
sipban=$!
wait_for played || give_up "the recorded streams were not played to their end"
sed -n 's/^playing /   played: /p' "$dir/asterisk.out"
wait_for all_blocked || true

say "What the administrator sees"
run cat "$dir/sipban.log"
run iptables -S sipban-udp || true
run ip6tables -S sipban-udp || true

say "After: one more packet from each of them, those of the honest phones last"
knock after "${attackers[@]}" "${phones[@]}"
for address in "${phones[@]}"; do
    check "a packet from the honest phone $address still arrives" wait_for arrived "$address" after
done
for address in "${attackers[@]}"; do
    check "none from $address does" stayed_out "$address" after
done

say "Verdict"
for address in "${attackers[@]}"; do
    check "the log says: BLOCK => $address" logged "BLOCK => $address ("
done
check "nobody else is blocked: no honest phone, and none of the addresses an attacker made up" all_blocked
check "SIPban's jump stands at the head of INPUT, for IPv4" jump_is_first iptables
check "and for IPv6" jump_is_first ip6tables
kill -TERM "$sipban" 2>/dev/null || true
check "told to stop, SIPban ends cleanly" ended_cleanly
check "and takes its rules away, for IPv4" none_in iptables
check "and for IPv6" none_in ip6tables

if [ "$untrue" -gt 0 ]; then
    say "$untrue of these sentences are FALSE"
    exit 1
fi
say "All true: the attackers are out, the phones ring"
