#!/bin/sh
# Tests `make install` and `make uninstall` in a folder of its own: install.sh BINARY
set -eu
binary=$(realpath "$1")
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "install.sh: $*" >&2
    sed 's/^/    /' "$dir/output" >&2
    exit 1
}

# This may run under `make test`, whose flags are not for us.
unset MAKEFLAGS MAKELEVEL MFLAGS

# quietly TARGET [VARIABLE=VALUE]...
quietly() {
    make --no-print-directory DESTDIR="$root" binary="$binary" "$@" >"$dir/output" 2>&1
}

# has MODE PATH: an installed file has these rights.
has() {
    [ "$(stat -c %a "$root$2" 2>/dev/null)" = "$1" ] || fail "$2 should be there with mode $1"
}

# names TEXT PATH: an installed file holds a line that is or contains this.
names() {
    grep -qF -- "$1" "$root$2" || fail "$2 does not name $1"
}

root=$dir/usual
quietly install || fail "make install failed"
has 755 /usr/local/sbin/sipban
has 600 /etc/sipban.conf
names 'backend = "auto"' /etc/sipban.conf
names 'mode = "count"' /etc/sipban.conf
names '#backend = "iptables"' /usr/local/share/doc/sipban/sipban.conf
has 644 /etc/sipban.wl
has 644 /etc/sipban.scanners
has 700 /var/lib/sipban
has 755 /etc/init.d/sipban
has 644 /usr/local/lib/systemd/system/sipban.service
has 644 /etc/logrotate.d/sipban
has 644 /usr/local/share/doc/sipban/manager.conf
for hook in abuseipdb mail webhook; do
    has 755 /usr/local/share/doc/sipban/hooks/$hook
done
for file in alerts.yml dashboard.json; do
    has 644 /usr/local/share/doc/sipban/metrics/$file
done
names 'alert: SipbanSilent' /usr/local/share/doc/sipban/metrics/alerts.yml
for sample in '#countries = ""' '#country = ""' '#network = ""' '#target = "file"' '#program = ""'; do
    names "$sample" /usr/local/share/doc/sipban/sipban.conf
done
names "DAEMON=/usr/local/sbin/sipban" /etc/init.d/sipban
names "ExecStart=/usr/local/sbin/sipban -c /etc/sipban.conf" /usr/local/lib/systemd/system/sipban.service
! grep -rn '@[a-z]*dir@' "$root" --include='sipban*' -I || fail "a placeholder was left"

echo "# mine" >"$root/etc/sipban.conf"
echo "192.0.2.1" >"$root/etc/sipban.wl"
echo "# none" >"$root/etc/sipban.scanners"
quietly install || fail "a second make install failed"
grep -q "kept $root/etc/sipban.conf" "$dir/output" || fail "it does not say that it kept the configuration"
[ "$(cat "$root/etc/sipban.conf" "$root/etc/sipban.wl" "$root/etc/sipban.scanners")" = "# mine
192.0.2.1
# none" ] || fail "it overwrote the configuration"

touch "$root/var/lib/sipban/bans"
quietly uninstall || fail "make uninstall failed"
grep -q "kept $root/var/lib/sipban" "$dir/output" || fail "it does not say that it kept the state"
left=$(cd "$root" && find . -type f | sort | tr '\n' ' ')
[ "$left" = "./etc/sipban.conf ./etc/sipban.scanners ./etc/sipban.wl ./var/lib/sipban/bans " ] || fail "uninstall left $left"

root=$dir/other
quietly install prefix=/usr sysconfdir=/opt/etc localstatedir=/opt/var || fail "make install with prefix failed"
has 755 /usr/sbin/sipban
has 600 /opt/etc/sipban.conf
names "DAEMON=/usr/sbin/sipban" /opt/etc/init.d/sipban
names "CONFIG=/opt/etc/sipban.conf" /opt/etc/init.d/sipban
names "/opt/var/log/sipban.log" /opt/etc/logrotate.d/sipban
unit=/usr/lib/systemd/system/sipban.service
names "ExecStart=/usr/sbin/sipban -c /opt/etc/sipban.conf" $unit
names "ReadWritePaths=/opt/etc /opt/var/log" $unit

root=$dir/unbuilt
! quietly install binary="$dir/nothing" || fail "it installed a binary that is not there"
grep -q 'first run .make.,' "$dir/output" || fail "it does not say what to do"
[ ! -e "$root" ] || fail "it installed something all the same"

# The unit as systemd sees it, where systemd is at hand. The threshold is in tenths.
if command -v systemd-analyze >/dev/null; then
    sed "s|/usr/sbin/sipban|$binary|" "$dir/other$unit" >"$dir/sipban.service"
    # It reads other units too, whose faults are not ours.
    systemd-analyze verify --man=no "$dir/sipban.service" >"$dir/output" 2>&1 || true
    ! grep -q 'sipban\.service' "$dir/output" || fail "systemd finds faults"
    systemd-analyze security --offline=true --threshold=20 --no-pager "$dir/sipban.service" >"$dir/output" 2>&1 ||
        fail "the unit is less confined than it was"
fi
echo "install.sh: all true"
