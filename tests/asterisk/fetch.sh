#!/bin/sh
# Brings Asterisk as Debian's release SUITE has it into FOLDER, once: fetch.sh SUITE FOLDER
#
# From the mirror that the apt of this machine uses, which is asked for it and written down nowhere.
set -eu
suite=$1
folder=$2
[ ! -d "$folder" ] || exit 0

mirror() {
    # shellcheck disable=SC2016 # the dollar is apt's
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 'Origin: Debian' \
        'Label: Debian' | head -n 1
}
mirror=$(mirror)
# A fresh machine knows its mirrors only by their names.
[ -n "$mirror" ] || { apt-get update -q >&2 && mirror=$(mirror); }
[ -n "$mirror" ] || { echo "the apt of this machine has no mirror of Debian" >&2; exit 1; }

# debootstrap does not read apt's settings.
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "${proxy:-}" ] || export http_proxy="$proxy"

part=$folder.part
log=$folder.log
mkdir -p "${folder%/*}"
rm -rf "$part"
trap 'rm -rf "$part" "$log"' EXIT
trap 'exit 1' HUP INT TERM

echo "fetching Asterisk of Debian $suite, some minutes at most"
# Signatures are checked; the date of the Release file is not, which is as well: a release that is no longer kept
# up has one that is over.
debootstrap --variant=minbase --include=asterisk "$suite" "$part" "$mirror" >"$log" 2>&1 || {
    echo "debootstrap $suite:" >&2
    tail -n 5 "$log" >&2
    exit 1
}
# It is run, not kept up; and the mirror is no business of this folder.
rm -rf "$part"/etc/apt/sources.list* "$part"/etc/hostname "$part"/etc/resolv.conf "$part"/var/cache/apt \
    "$part"/var/lib/apt "$part"/var/log/*
rm -rf "$part"/usr/share/doc "$part"/usr/share/info "$part"/usr/share/locale "$part"/usr/share/man
mv "$part" "$folder"
