#!/bin/sh
# Runs a real firewall of the distribution in the network namespace that this is started in, with files of its own:
# neighbour.sh NAME {start|reload|stop|rules} FOLDER
#
# All of them let SIP over UDP in. `rules` prints what is theirs.
set -eu
name=$1 step=$2 folder=$3
mkdir -p "$folder"

firewalld() {
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=$folder/bus
    export DBUS_SYSTEM_BUS_ADDRESS
    case $step in
        start)
            mkdir -p "$folder/firewalld"
            firewall-offline-cmd --system-config "$folder/firewalld" --add-port=5060/udp >/dev/null
            dbus-daemon --session --address="$DBUS_SYSTEM_BUS_ADDRESS" --nofork --nopidfile >"$folder/bus.log" 2>&1 &
            echo $! >"$folder/bus.pid"
            until [ -S "$folder/bus" ]; do sleep 0.1; done
            /usr/sbin/firewalld --nofork --nopid --system-config "$folder/firewalld" --log-file "$folder/log" >"$folder/out" 2>&1 &
            echo $! >"$folder/pid"
            until firewall-cmd --state >/dev/null 2>&1; do sleep 0.2; done
            ;;
        reload) firewall-cmd --reload >/dev/null ;;
        stop)
            kill "$(cat "$folder/pid")"
            while kill -0 "$(cat "$folder/pid")" 2>/dev/null; do sleep 0.1; done
            kill "$(cat "$folder/bus.pid")"
            ;;
        rules) nft list table inet firewalld ;;
    esac
}

# It keeps its state in the configuration, of which it is given a copy.
ufw() {
    [ -d "$folder/ufw" ] || { cp -a /etc/ufw "$folder/ufw" && cp -a /etc/default "$folder/default"; }
    case $step in
        start) steps='ufw allow 5060/udp && ufw --force enable' ;;
        reload) steps='ufw reload' ;;
        stop) steps='ufw --force disable' ;;
        rules)
            iptables -w -S | grep ufw-
            return
            ;;
    esac
    unshare -m sh -ec "mount --bind '$folder/ufw' /etc/ufw; mount --bind '$folder/default' /etc/default; $steps" >/dev/null
}

fail2ban() {
    client="fail2ban-client -c $folder/fail2ban -s $folder/socket"
    case $step in
        start)
            cp -a /etc/fail2ban "$folder/fail2ban"
            rm -f "$folder"/fail2ban/jail.d/*
            : >"$folder/messages"
            cat >"$folder/fail2ban/jail.local" <<END
[sip]
enabled = true
filter = asterisk
backend = polling
logpath = $folder/messages
banaction = iptables-allports
END
            fail2ban-server -f -c "$folder/fail2ban" -s "$folder/socket" -p "$folder/pid" --logtarget "$folder/log" start >/dev/null 2>&1 &
            until $client ping >/dev/null 2>&1; do sleep 0.2; done
            $client set sip banip 203.0.113.5 >/dev/null
            until iptables -w -S | grep -q 203.0.113.5; do sleep 0.1; done
            ;;
        reload) $client reload >/dev/null 2>&1 ;;
        stop) $client stop >/dev/null 2>&1 ;;
        rules) iptables -w -S | grep f2b- ;;
    esac
}

# What it does when it starts, when a container is started, and when it ends.
docker() {
    case $step in
        start)
            iptables -w -N DOCKER-USER
            iptables -w -N DOCKER
            iptables -w -I FORWARD -j DOCKER-USER
            iptables -w -t nat -N DOCKER
            iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
            ;;
        reload)
            iptables -w -I FORWARD -o docker0 -j DOCKER
            iptables -w -D FORWARD -o docker0 -j DOCKER
            iptables -w -I INPUT -i docker0 -j ACCEPT
            iptables -w -D INPUT -i docker0 -j ACCEPT
            ;;
        stop)
            iptables -w -D FORWARD -j DOCKER-USER
            iptables -w -X DOCKER-USER
            ;;
        rules)
            iptables -w -S | grep DOCKER
            iptables -w -t nat -S
            ;;
    esac
}

# Its `reload` is no more than this.
persistent() {
    case $step in
        start)
            iptables -w -N theirs
            iptables -w -A INPUT -j theirs
            iptables-save >"$folder/rules.v4"
            ip6tables-save >"$folder/rules.v6"
            ;;
        reload | stop)
            iptables-restore <"$folder/rules.v4"
            ip6tables-restore <"$folder/rules.v6"
            ;;
        rules) iptables -w -S | grep theirs ;;
    esac
}

"$name"
