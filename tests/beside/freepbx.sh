#!/bin/sh
# Does to iptables what the firewall module of FreePBX does: freepbx.sh SECONDS LOG
#
# Every SECONDS it walks INPUT. A rule before its own jump whose text has neither fail2ban nor f2b in it is an invader,
# and so is its own jump that is missing: then it empties all chains of filter and nat, deletes those that are not the
# kernel's, waits and begins anew. Each beginning is a line in LOG, each check a line too.
set -eu
pause=$1 log=$2

both() {
    iptables -w "$@" && ip6tables -w "$@"
}

begin() {
    both -N fpbxfirewall
    both -N fpbxlogdrop
    both -A fpbxfirewall -i lo -j ACCEPT
    both -A fpbxfirewall -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    both -A fpbxfirewall -p udp --dport 5060 -j ACCEPT
    both -A fpbxfirewall -j fpbxlogdrop
    both -A fpbxlogdrop -j DROP
    both -A INPUT -j fpbxfirewall
    echo begin >>"$log"
}

clean() {
    for program in iptables ip6tables; do
        for table in filter nat; do
            $program -w -t $table -F
            $program -w -t $table -X
        done
    done
}

# Succeeds if INPUT is as it wants it.
is_configured() {
    iptables -w -S INPUT | {
        while read -r rule; do
            case $rule in
                "-A INPUT -j fpbxfirewall") exit 0 ;;
                -P* | *fail2ban* | *f2b*) ;;
                *) exit 1 ;;
            esac
        done
        exit 1
    }
}

clean
begin
while sleep "$pause"; do
    if is_configured; then
        echo check >>"$log"
    else
        echo restart >>"$log"
        clean
        sleep "$pause"
        begin
    fi
done
