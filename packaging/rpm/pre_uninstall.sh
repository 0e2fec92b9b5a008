# shellcheck shell=sh
# $1: how many of this package will be left: 0, or 1 on an upgrade, on which the old program goes on guarding.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now sipban || :
fi
