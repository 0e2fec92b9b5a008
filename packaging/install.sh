#!/bin/sh
# Installs SIPban, or removes it: install.sh [--yes] [--uninstall] [VARIABLE=VALUE]...
#
# The variables are those of GNU: DESTDIR, prefix, exec_prefix, sbindir, datarootdir, mandir, docdir, sysconfdir,
# localstatedir, initdir; and binary, the program to install. `make install` calls this too. A configuration that is
# there is never overwritten, and neither it nor log and blocks are removed. Where the Perl program sipban.pl runs,
# SIPban takes its place, after a question that --yes answers.
set -eu
umask 022

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

action=install
yes=
for argument; do
    case $argument in
        --yes) yes=y ;;
        --uninstall) action=uninstall ;;
        DESTDIR=* | prefix=* | exec_prefix=* | sbindir=* | datarootdir=* | mandir=* | docdir=* | sysconfdir=* | \
            localstatedir=* | initdir=* | binary=*)
            export "${argument?}"
            ;;
        *)
            echo "Usage: $0 [--yes] [--uninstall] [VARIABLE=VALUE]..., such as prefix=/usr" >&2
            exit 64
            ;;
    esac
done

# In an archive this file lies beside the program, in the sources one folder below.
here=$(cd "$(dirname "$0")" && pwd)
[ -d "$here/conf" ] || here=${here%/*}

: "${DESTDIR=}" "${prefix=/usr/local}" "${sysconfdir=/etc}" "${localstatedir=/var}" "${binary=$here/sipban}"
: "${exec_prefix=$prefix}" "${datarootdir=$prefix/share}" "${initdir=$sysconfdir/init.d}"
: "${sbindir=$exec_prefix/sbin}" "${mandir=$datarootdir/man}" "${docdir=$datarootdir/doc/sipban}"
# systemd looks for units in these two places only, whatever the prefix.
unitdir=/usr/local/lib/systemd/system
[ "$prefix" != /usr ] || unitdir=/usr/lib/systemd/system

# Whether this machine has one of these folders. With DESTDIR a package is being made, which is for every machine.
has() {
    [ -z "$DESTDIR" ] || return 0
    for folder; do
        [ ! -d "$folder" ] || return 0
    done
    return 1
}

# What belongs to SIPban: source, place, mode.
manifest() {
    for page in sipban.8 sipban.conf.5; do
        echo "packaging/$page|$mandir/man${page##*.}/$page|0644"
    done
    echo "packaging/completions/sipban.bash|$datarootdir/bash-completion/completions/sipban|0644"
    echo "packaging/completions/_sipban|$datarootdir/zsh/site-functions/_sipban|0644"
    echo "packaging/completions/sipban.fish|$datarootdir/fish/vendor_completions.d/sipban.fish|0644"
    for document in conf/sipban.conf conf/sipban.wl conf/sipban.scanners conf/manager.conf README.md CHANGELOG.md LICENSE; do
        echo "$document|$docdir/${document##*/}|0644"
    done
    for hook in abuseipdb mail webhook; do
        echo "packaging/hooks/$hook|$docdir/hooks/$hook|0755"
    done
    for file in alerts.yml dashboard.json; do
        echo "packaging/metrics/$file|$docdir/metrics/$file|0644"
    done
    ! has "$initdir" || echo "packaging/sipban.init|$initdir/sipban|0755"
    ! has /usr/lib/systemd/system /lib/systemd/system || echo "packaging/sipban.service.in|$unitdir/sipban.service|0644"
    ! has "$sysconfdir/logrotate.d" || echo "packaging/sipban.logrotate|$sysconfdir/logrotate.d/sipban|0644"
}

# What becomes the administrator's: the same.
configuration() {
    echo "conf/sipban.conf|$sysconfdir/sipban.conf|0600"
    echo "conf/sipban.wl|$sysconfdir/sipban.wl|0644"
    echo "conf/sipban.scanners|$sysconfdir/sipban.scanners|0644"
}

# Our files name the usual folders; an installed one names those it was installed for.
relocate() {
    sed -e "s|/etc/sipban\.|$sysconfdir/sipban.|g" -e "s|/var/\(log\|lib\)/sipban|$localstatedir/\1/sipban|g" \
        -e "s|@sbindir@|$sbindir|g" -e "s|@sysconfdir@|$sysconfdir|g" -e "s|@localstatedir@|$localstatedir|g" \
        -e "s|^DAEMON=.*|DAEMON=$sbindir/sipban|"
}

# A new configuration chooses the backend by the machine: beside a firewall that empties the chains of iptables, such as
# FreePBX's, or without iptables, a table of nftables. It counts what strangers send too much of, and takes nothing
# from them. One that is there keeps what it says.
choose_backend() {
    if [ "$1" = "$sysconfdir/sipban.conf" ]; then
        sed -e 's/^#backend = .*/backend = "auto"/' -e 's/^#mode = "off"/mode = "count"/'
    else
        cat
    fi
}

# Says what that is here, and why.
explain_backend() {
    "$sbindir/sipban" -c "$sysconfdir/sipban.conf" check 2>/dev/null | sed -n 's/^OK *backend *auto chooses/It blocks with/p'
}

# Puts standard input at a place, with a mode. At every moment there is a whole file, even while the program runs.
place() {
    mkdir -p "$DESTDIR${1%/*}"
    cat >"$DESTDIR$1.new"
    chmod "$2" "$DESTDIR$1.new"
    mv -f "$DESTDIR$1.new" "$DESTDIR$1"
}

install() {
    [ -x "$binary" ] || fail "$binary is not there"
    place "$sbindir/sipban" 0755 <"$binary"
    configuration | while IFS='|' read -r source place mode; do
        if [ -e "$DESTDIR$place" ]; then
            echo "kept $DESTDIR$place"
        else
            relocate <"$here/$source" | choose_backend "$place" | place "$place" "$mode"
            echo "new  $DESTDIR$place"
        fi
    done
    mkdir -p "$DESTDIR$localstatedir/lib/sipban"
    chmod 0700 "$DESTDIR$localstatedir/lib/sipban"
    [ -n "$DESTDIR" ] || explain_backend
    perl=none
    [ -n "$DESTDIR" ] || replace_perl
    manifest | while IFS='|' read -r source place mode; do
        [ -r "$here/$source" ] || fail "$here/$source is missing"
        if is_perls_script "$place"; then
            echo "kept $place, which starts sipban.pl"
        else
            relocate <"$here/$source" | place "$place" "$mode"
        fi
    done
    case $perl in
        none) [ -n "$DESTDIR" ] || "$here/packaging/next-steps" "$sbindir" "$sysconfdir" "$docdir" ;;
        ended) start_service ;;
    esac
}

uninstall() {
    [ -n "$DESTDIR" ] || stop_service
    rm -f "$DESTDIR$sbindir/sipban"
    manifest | while IFS='|' read -r _ place _; do
        is_perls_script "$place" || rm -f "$DESTDIR$place"
    done
    [ -n "$DESTDIR" ] || ! runs_systemd || systemctl daemon-reload
    rmdir "$DESTDIR$docdir/hooks" "$DESTDIR$docdir/metrics" "$DESTDIR$docdir" 2>/dev/null || true
    for path in "$sysconfdir/sipban.conf" "$sysconfdir/sipban.wl" "$sysconfdir/sipban.scanners" \
        "$sysconfdir/sipban.dump" "$localstatedir/lib/sipban" "$localstatedir/log/sipban.log"; do
        [ ! -e "$DESTDIR$path" ] || echo "kept $DESTDIR$path"
    done
}

# The Perl program. Configuration, white list, dump and log of both have the same names, which is intended, but so
# have the services: its unit in /etc comes before ours, and its init script lies where ours is to be.
#
# It must not be stopped as services are. Told to end by TERM or HUP, some of its versions first remove their chain,
# and all attackers are let in again; and the console command that writes its blocks to a file, `flush`, removes them
# too. So it is killed: the kernel keeps chain or set, the attackers stay blocked, and SIPban takes over what it finds
# there when it starts. Nothing is killed before SIPban has read the configuration without an error.

perl_unit=/etc/systemd/system/sipban.service

# Replaces the Perl program if the administrator agrees. Sets `perl`: none (never was here, or just did not run),
# ended (it ran, so SIPban is to run now), kept.
replace_perl() {
    processes=$(perl_processes | paste -s -d ' ')
    services=$(for file in "$perl_unit" "$initdir/sipban"; do ! is_perls "$file" || echo "$file"; done)
    [ -n "$processes$services" ] || return 0
    perl=kept
    # shellcheck disable=SC2086 # a file a word
    echo "The Perl program sipban.pl is here${processes:+, running as process $processes}:" $services
    if ! "$sbindir/sipban" -c "$sysconfdir/sipban.conf" replay /dev/null >/dev/null; then
        echo "It stays, because SIPban cannot use its configuration. Please correct that and install again."
        return 0
    fi
    if [ -z "$yes" ] && [ -t 0 ]; then
        printf 'Put SIPban in its place now? All blocks stay in force. [y/N] '
        read -r yes || true
    fi
    case $yes in
        [yY]*) ;;
        *)
            echo "It stays as it is, and SIPban is not started beside it. To replace it without losing a block, do not"
            echo "stop it, but install again and answer y, or without a question: make install yes=y, install.sh --yes"
            return 0
            ;;
    esac
    perl=none
    [ -z "$processes" ] || perl=ended
    kill_perl
    for file in $services; do
        kept=$localstatedir/lib/sipban/sipban.pl.${file##*[./]}
        mv -f "$file" "$kept"
        echo "kept $file as $kept"
    done
}

# Whether a file starts the Perl program.
is_perls() {
    grep -qs 'sipban[_a-z]*\.pl' "$1"
}

# Whether this place for a file of ours is taken by its init script.
is_perls_script() {
    [ "$1" = "$initdir/sipban" ] && is_perls "$DESTDIR$1"
}

# The processes that run it, but for those in containers.
perl_processes() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe") in
            */perl*) ;;
            *) continue ;;
        esac
        if [ "$(readlink "$process/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] &&
            tr '\0' '\n' <"$process/cmdline" | sed 1d | grep -q '^\(.*/\)\{0,1\}sipban[_a-z]*\.pl$'; then
            echo "${process#/proc/}"
        fi
    done 2>/dev/null
}

# Kills it, and keeps init from starting it again. Where it does not run, the service of this name may be ours.
kill_perl() {
    if runs_systemd && { [ -n "$processes" ] || is_perls "$perl_unit"; } && systemctl cat sipban >/dev/null 2>&1; then
        dropin=/run/systemd/system/sipban.service.d
        mkdir -p "$dropin"
        printf '[Service]\n%s\n' KillSignal=SIGKILL Restart=no ExecStop= ExecStopPost= >"$dropin/kill.conf"
        systemctl daemon-reload
        systemctl stop sipban
        systemctl disable sipban
        rm -r "$dropin"
    fi
    tries=50
    until [ -z "$(perl_processes)" ]; do
        # shellcheck disable=SC2046 # a process a word
        kill -s KILL $(perl_processes) 2>/dev/null || true
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "sipban.pl does not end: process $(perl_processes | paste -s -d ' ')"
        sleep 0.1 2>/dev/null || sleep 1
    done
}

runs_systemd() {
    [ -d /run/systemd/system ]
}

# Has SIPban run, now and after each boot.
start_service() {
    if runs_systemd; then
        systemctl daemon-reload && systemctl enable sipban && systemctl start sipban
    else
        if command -v chkconfig >/dev/null; then
            chkconfig --add sipban && chkconfig --level 345 sipban on
        else
            update-rc.d sipban defaults
        fi
        "$initdir/sipban" start
    fi || fail "SIPban does not start; $localstatedir/log/sipban.log may say why. The blocks are in force all the same"
    echo "SIPban runs in the place of sipban.pl."
}

# The opposite, if it is this installation that the service runs.
stop_service() {
    if runs_systemd && [ -e "$unitdir/sipban.service" ]; then
        systemctl --quiet disable --now sipban || true
    fi
    grep -qsxF "DAEMON=$sbindir/sipban" "$initdir/sipban" || return 0
    runs_systemd || "$initdir/sipban" stop || true
    if command -v chkconfig >/dev/null; then
        chkconfig --del sipban
    elif command -v update-rc.d >/dev/null; then
        update-rc.d -f sipban remove
    fi
}

$action
