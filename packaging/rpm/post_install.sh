# shellcheck shell=sh
# $1: how many of this package are installed now. A fresh one is not started: it has no user of Asterisk yet.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
    echo "sipban: set ami.user and ami.pass in /etc/sipban.conf, call 'sipban check', then start the service"
fi
