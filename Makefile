# SIPban, for GNU make.
#
#   make               build                      make demo    see it block recorded attacks, nothing installed
#   sudo make install  install what was built     make test    pass every test
#   sudo make uninstall                           make check   formatting, lints, documentation, packages, scripts
#   make test-asterisk the same, with real Asterisk servers under attack
#   make test-metrics  what a real Prometheus makes of the metrics
#   make test-install  the same on test machines, with init scripts and with systemd
#   make field         see whom it blocks among a million events of users and attackers, and whom others would
#   make bench         measure                    make clean   remove what was built
#   make fuzz          feed it nonsense
#   make pictures      README's pictures, and the page of `sipban stats` looked at in a browser
#   make order         which functions lie together in the program, after large changes: see packaging/build.rs
#   make static        one binary, no libraries   make dist    the same as an archive with install.sh
#   make deb           Debian package             make rpm     RPM package

prefix = /usr/local
exec_prefix = $(prefix)
sbindir = $(exec_prefix)/sbin
datarootdir = $(prefix)/share
mandir = $(datarootdir)/man
docdir = $(datarootdir)/doc/sipban
sysconfdir = /etc
localstatedir = /var
initdir = $(sysconfdir)/init.d

CARGO = cargo

binary = $(or $(CARGO_TARGET_DIR),target)/release/sipban
pages = $(wildcard packaging/*.5 packaging/*.8)
scripts = .ci/run packaging/install.sh $(wildcard packaging/deb/* packaging/hooks/* packaging/rpm/*) packaging/sipban.init packaging/ssh-peer packaging/next-steps $(wildcard tests/*.sh tests/*/*.sh)

version = $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
machine = $(shell uname -m)
archive = sipban-$(version)-linux-$(machine)
dist = target/dist
static_target = $(machine)-unknown-linux-musl
static_binary = $(or $(CARGO_TARGET_DIR),target)/$(static_target)/release/sipban

# What packaging/install.sh is told; it has the same defaults.
places = $(foreach name,DESTDIR prefix exec_prefix sbindir datarootdir mandir docdir sysconfdir localstatedir initdir binary,\
	'$(name)=$($(name))')

.PHONY: all build cargo install uninstall static dist package deb rpm check test test-asterisk test-install test-metrics demo field bench fuzz pictures order clean

all: build

build: cargo
	$(CARGO) build --release --locked

cargo:
	@command -v '$(CARGO)' >/dev/null || { \
		echo 'SIPban is written in Rust, and there is no `$(CARGO)` in the PATH: install a Rust toolchain, 1.85' >&2; \
		echo 'or newer, with rustup or from your distribution, open a new shell and call make again' >&2; exit 1; }

# Builds nothing: the toolchain of the user who built is mostly out of root's reach.
install:
	@test -x '$(binary)' || { \
		echo '$(binary) is not there: first run `make`, as the user who has cargo' >&2; exit 1; }
	@packaging/install.sh $(if $(yes),--yes) $(places)

uninstall:
	@packaging/install.sh --uninstall $(places)

# One binary that needs no library of the machine. With musl, because a static glibc still loads the NSS modules of the
# machine to look up hosts and users, and is aborted by those of another version.
# The little C of the cryptography calls no library, so the machine's own compiler will do for it.
static: cargo
	@rustup target add $(static_target) 2>/dev/null || true
	CC_$(subst -,_,$(static_target))="$${CC:-cc}" $(CARGO) build --release --locked --target $(static_target) || { \
		echo 'If the standard library is what it lacks: rustup target add $(static_target)' >&2; exit 1; }

# For machines without make and cargo: unpack, call ./install.sh.
dist: static
	rm -rf '$(dist)/$(archive)'
	mkdir -p '$(dist)/$(archive)/packaging'
	cp '$(static_binary)' packaging/install.sh README.md CHANGELOG.md LICENSE '$(dist)/$(archive)'
	cp -R conf '$(dist)/$(archive)'
	cp -R packaging/completions packaging/hooks packaging/metrics packaging/sipban* packaging/ssh-peer packaging/next-steps '$(dist)/$(archive)/packaging'
	tar -C '$(dist)' --owner=0 --group=0 -czf '$(dist)/$(archive).tar.gz' '$(archive)'
	@echo '$(dist)/$(archive).tar.gz'

# What the packages hold, as it is installed.
package: static
	rm -rf target/package
	packaging/install.sh DESTDIR='$(CURDIR)/target/package' prefix=/usr binary='$(static_binary)'

deb: package
	$(CARGO) deb --no-build --no-strip --target $(static_target)

rpm: package
	$(CARGO) generate-rpm --target $(static_target) --payload-compress gzip

check: cargo
	tests/needs.sh check
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	tests/deny.sh
	shellcheck $(scripts)
	mandoc -Tlint -Wwarning $(pages)

test: cargo
	tests/needs.sh test
	$(CARGO) test --locked

# Attacks Asterisk servers for real; fetches them first.
test-asterisk: cargo
	$(CARGO) build --release --locked
	tests/asterisk/run.py

# Debian's package of Prometheus starts one on this machine: disable it where none is wanted.
test-metrics: cargo
	tests/needs.sh test-metrics
	promtool check rules packaging/metrics/alerts.yml
	$(CARGO) test --locked --test daemon -- --ignored prometheus

# Whole machines, booted by init scripts and by systemd, in namespaces of their own. As root.
test-install: dist
	tests/needs.sh test-install
	python3 -B tests/install/run.py '$(static_binary)' '$(dist)/$(archive).tar.gz'

# With a real Asterisk where `make test-asterisk` has fetched one, else with recorded streams.
demo: cargo
	tests/needs.sh demo
	$(CARGO) build --release --locked
	@if test -d target/asterisk/sid; then tests/asterisk/run.py --show 22; else tests/demo.sh '$(binary)'; fi

# FIELD: seed, hours, and how many of everybody there are.
FIELD = 1 8 1

field: cargo
	tests/needs.sh field
	$(CARGO) build --release --locked
	tests/field/field.py compare '$(binary)' target/field $(FIELD)

bench: cargo
	$(CARGO) bench --locked

# FUZZ_SECONDS for each target; needs a nightly toolchain and cargo-fuzz.
fuzz: cargo
	tests/fuzz/run.sh

# Also says whether the page is well; about a quarter of a minute, after the build.
pictures: cargo
	tests/needs.sh pictures
	$(CARGO) build --release --locked
	python3 -B tests/pictures/run.py '$(binary)' --write packaging/pictures

# As root; half a minute, after the build. What it writes counts from the next build on.
order: cargo
	tests/needs.sh order
	python3 -B packaging/order.py
	$(CARGO) build --release --locked
	python3 -B packaging/order.py '$(binary)'

clean: cargo
	$(CARGO) clean
