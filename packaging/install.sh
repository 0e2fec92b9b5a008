#!/bin/sh
# Installs SIPban, or removes it: install.sh [--uninstall] [VARIABLE=VALUE]...
#
# The variables are those of GNU: DESTDIR, prefix, exec_prefix, sbindir, datarootdir, mandir, docdir, sysconfdir,
# localstatedir, initdir; and binary, the program to install. `make install` calls this too. A configuration that is
# there is never overwritten, and neither it nor log and blocks are removed.
set -eu
umask 022

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

action=install
for argument; do
    case $argument in
        --uninstall) action=uninstall ;;
        DESTDIR=* | prefix=* | exec_prefix=* | sbindir=* | datarootdir=* | mandir=* | docdir=* | sysconfdir=* | \
            localstatedir=* | initdir=* | binary=*)
            export "${argument?}"
            ;;
        *)
            echo "Usage: $0 [--uninstall] [VARIABLE=VALUE]..., such as prefix=/usr" >&2
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
    for document in conf/sipban.conf conf/sipban.wl conf/manager.conf README.md CHANGELOG.md LICENSE; do
        echo "$document|$docdir/${document##*/}|0644"
    done
    ! has "$initdir" || echo "packaging/sipban.init|$initdir/sipban|0755"
    ! has /usr/lib/systemd/system /lib/systemd/system || echo "packaging/sipban.service.in|$unitdir/sipban.service|0644"
    ! has "$sysconfdir/logrotate.d" || echo "packaging/sipban.logrotate|$sysconfdir/logrotate.d/sipban|0644"
}

# What becomes the administrator's: the same.
configuration() {
    echo "conf/sipban.conf|$sysconfdir/sipban.conf|0600"
    echo "conf/sipban.wl|$sysconfdir/sipban.wl|0644"
}

# Our files name the usual folders; an installed one names those it was installed for.
relocate() {
    sed -e "s|/etc/sipban\.|$sysconfdir/sipban.|g" -e "s|/var/\(log\|lib\)/sipban|$localstatedir/\1/sipban|g" \
        -e "s|@sbindir@|$sbindir|g" -e "s|@sysconfdir@|$sysconfdir|g" -e "s|@localstatedir@|$localstatedir|g" \
        -e "s|^DAEMON=.*|DAEMON=$sbindir/sipban|"
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
    manifest | while IFS='|' read -r source place mode; do
        [ -r "$here/$source" ] || fail "$here/$source is missing"
        relocate <"$here/$source" | place "$place" "$mode"
    done
    configuration | while IFS='|' read -r source place mode; do
        if [ -e "$DESTDIR$place" ]; then
            echo "kept $DESTDIR$place"
        else
            relocate <"$here/$source" | place "$place" "$mode"
            echo "new  $DESTDIR$place"
        fi
    done
    mkdir -p "$DESTDIR$localstatedir/lib/sipban"
    chmod 0700 "$DESTDIR$localstatedir/lib/sipban"
    [ -n "$DESTDIR" ] || "$here/packaging/next-steps" "$sbindir" "$sysconfdir" "$docdir"
}

uninstall() {
    rm -f "$DESTDIR$sbindir/sipban"
    manifest | while IFS='|' read -r _ place _; do
        rm -f "$DESTDIR$place"
    done
    rmdir "$DESTDIR$docdir" 2>/dev/null || true
    for path in "$sysconfdir/sipban.conf" "$sysconfdir/sipban.wl" "$sysconfdir/sipban.dump" \
        "$localstatedir/lib/sipban" "$localstatedir/log/sipban.log"; do
        [ ! -e "$DESTDIR$path" ] || echo "kept $DESTDIR$path"
    done
}

$action
