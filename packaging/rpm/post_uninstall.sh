# shellcheck shell=sh
# $1 as before removal. Journal and log stay, a changed configuration under another name.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart sipban || :
    fi
fi
