#!/bin/sh
# Installs what `make TARGET` runs and this machine lacks: needs.sh TARGET
#
# Says what it installs; silent if nothing is missing. As root, or with sudo.
set -eu

# A program and the Debian packages it comes in, a line each.
needed() {
    echo "cc gcc libc6-dev"
    case $1 in
        check)
            echo "mandoc mandoc"
            echo "shellcheck shellcheck"
            ;;
        demo)
            echo "ip iproute2"
            echo "iptables iptables"
            echo "ip6tables iptables"
            echo "python3 python3"
            ;;
        pictures)
            echo "chromium chromium fonts-dejavu-core"
            echo "ip iproute2"
            echo "iptables iptables"
            echo "ip6tables iptables"
            echo "python3 python3"
            ;;
        order)
            echo "ip iproute2"
            echo "iptables iptables"
            echo "ip6tables iptables"
            echo "python3 python3"
            echo "unshare util-linux"
            echo "valgrind valgrind"
            ;;
        field)
            echo "python3 python3"
            ;;
        test)
            echo "dbus-daemon dbus"
            echo "fail2ban-server fail2ban"
            echo "firewalld firewalld"
            echo "curl curl"
            echo "ip iproute2"
            echo "ip6tables iptables"
            echo "ipset ipset"
            echo "iptables iptables"
            echo "iptables-legacy iptables"
            echo "journalctl systemd"
            echo "nc netcat-openbsd"
            echo "nft nftables"
            echo "openssl openssl"
            echo "python3 python3"
            echo "redis-cli redis-tools"
            echo "redis-server redis-server"
            echo "script bsdutils"
            echo "setpriv util-linux"
            echo "systemd-analyze systemd"
            echo "telnet inetutils-telnet"
            echo "timeout coreutils"
            echo "ufw ufw"
            ;;
        test-asterisk)
            echo "debootstrap debootstrap"
            echo "ip iproute2"
            echo "ip6tables iptables"
            echo "iptables iptables"
            echo "openssl openssl"
            echo "python3 python3"
            echo "setpriv util-linux"
            echo "sipp sip-tester"
            echo "svmap sipvicious"
            echo "unshare util-linux"
            ;;
        test-metrics)
            echo "ip iproute2"
            echo "ip6tables iptables"
            echo "iptables iptables"
            echo "prometheus prometheus"
            echo "promtool prometheus"
            ;;
        test-install)
            echo "debootstrap debootstrap"
            echo "ip iproute2"
            echo "nsenter util-linux"
            echo "python3 python3"
            ;;
        *)
            echo "Usage: needs.sh {check|demo|field|order|pictures|test|test-asterisk|test-install|test-metrics}" >&2
            exit 64
            ;;
    esac
}

# iptables and its kin are in folders that a user's PATH often leaves out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# What Debian has of it.
debian_packages() {
    list=$(needed "$@")
    packages=$(echo "$list" | while read -r program of; do
        command -v "$program" >/dev/null || echo "$of"
    done | tr ' ' '\n' | sort -u | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0

    if ! command -v apt-get >/dev/null; then
        echo "\`make $1\` needs programs that are not here, and this is no Debian machine. Please install what" >&2
        echo "corresponds to these Debian packages, then call it again: $packages" >&2
        exit 1
    fi
    root=
    if [ "$(id -u)" -ne 0 ]; then
        root=sudo
        command -v sudo >/dev/null || {
            echo "\`make $1\` needs Debian packages that only root can install: apt-get install $packages" >&2
            exit 1
        }
    fi

    echo "make $1: installing Debian packages: $packages"
    export DEBIAN_FRONTEND=noninteractive
    # Lists of packages may be missing or old on a fresh machine: they are fetched only if it takes that.
    install >/dev/null 2>&1 || { $root apt-get update -q && install; }
}

install() {
    # shellcheck disable=SC2086 # several packages are several words
    $root apt-get install -y -q --no-install-recommends $packages
}

# Debian has no cargo-deny. This is the last release that builds with the Rust that SIPban asks for; whatever release is
# there already will do.
cargo_deny() {
    ! cargo deny --version >/dev/null 2>&1 || return 0
    echo "make check: building cargo-deny, which takes some minutes"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version 0.18.3 --locked --debug --quiet
}

# Unpacked for the local API alone, and not installed: the package would start all of it and call its makers.
crowdsec() {
    folder=target/crowdsec
    [ ! -x $folder/usr/bin/crowdsec ] && command -v apt-get >/dev/null || return 0
    echo "make test: unpacking Debian's crowdsec into $folder"
    mkdir -p $folder
    (
        cd $folder
        apt-get download -q crowdsec >/dev/null 2>&1 || { apt-get update -q && apt-get download -q crowdsec; }
        dpkg -x crowdsec_*.deb .
        rm crowdsec_*.deb
    )
}

debian_packages "$@"
[ "$1" != check ] || cargo_deny
[ "$1" != test ] || crowdsec
