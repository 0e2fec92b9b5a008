# SIPban, for GNU make.
#
#   make               build                      make demo    see it block recorded attacks, nothing installed
#   sudo make install  install what was built     make test    pass every test
#   sudo make uninstall                           make check   formatting, lints, documentation, scripts
#   make bench         measure                    make clean   remove what was built

prefix = /usr/local
exec_prefix = $(prefix)
sbindir = $(exec_prefix)/sbin
datarootdir = $(prefix)/share
mandir = $(datarootdir)/man
docdir = $(datarootdir)/doc/sipban
sysconfdir = /etc
localstatedir = /var
initdir = $(sysconfdir)/init.d
# systemd looks for units in these two places only, whatever the prefix.
unitdir = $(if $(filter /usr,$(prefix)),/usr,/usr/local)/lib/systemd/system

INSTALL = install
INSTALL_PROGRAM = $(INSTALL) -m 0755
INSTALL_DATA = $(INSTALL) -m 0644
CARGO = cargo

binary = $(or $(CARGO_TARGET_DIR),target)/release/sipban
documents = conf/sipban.conf conf/sipban.wl conf/manager.conf $(wildcard README.md) CHANGELOG.md LICENSE
pages = $(wildcard packaging/*.5 packaging/*.8)
scripts = .ci/run packaging/sipban.init packaging/ssh-peer packaging/next-steps $(wildcard tests/*.sh)

# With DESTDIR a package is being made, which is for every machine; without, this machine has what it has.
has_initd = $(or $(DESTDIR),$(wildcard $(initdir)))
has_systemd = $(or $(DESTDIR),$(wildcard /usr/lib/systemd/system /lib/systemd/system))
has_logrotate = $(or $(DESTDIR),$(wildcard $(sysconfdir)/logrotate.d))

# Our files name the usual folders; an installed one names those it was installed for.
relocate = sed -e 's|/etc/sipban\.|$(sysconfdir)/sipban.|g' -e 's|/var/\(log\|lib\)/sipban|$(localstatedir)/\1/sipban|g' \
	-e 's|@sbindir@|$(sbindir)|g' -e 's|@sysconfdir@|$(sysconfdir)|g' -e 's|@localstatedir@|$(localstatedir)|g' \
	-e 's|^DAEMON=.*|DAEMON=$(sbindir)/sipban|'

# $(call put,FILE,PLACE,MODE)
define put
$(INSTALL) -d '$(DESTDIR)$(dir $(2))'
$(relocate) '$(1)' | $(INSTALL) -m $(3) /dev/stdin '$(DESTDIR)$(2)'

endef

# $(call put_once,FILE,PLACE,MODE): what the administrator may have changed is never overwritten.
define put_once
@if test -e '$(DESTDIR)$(2)'; then echo 'kept $(DESTDIR)$(2)'; else \
	$(relocate) '$(1)' | $(INSTALL) -m $(3) /dev/stdin '$(DESTDIR)$(2)' && echo 'new  $(DESTDIR)$(2)'; fi

endef

page_place = $(mandir)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))

.PHONY: all build cargo install uninstall check test demo bench clean

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
	$(INSTALL) -d '$(DESTDIR)$(sbindir)' '$(DESTDIR)$(sysconfdir)' '$(DESTDIR)$(docdir)'
	$(INSTALL) -d -m 0700 '$(DESTDIR)$(localstatedir)/lib/sipban'
	$(INSTALL_PROGRAM) '$(binary)' '$(DESTDIR)$(sbindir)/sipban'
	$(INSTALL_DATA) $(documents) '$(DESTDIR)$(docdir)'
	$(foreach page,$(pages),$(call put,$(page),$(call page_place,$(page)),0644))
	$(if $(has_initd),$(call put,packaging/sipban.init,$(initdir)/sipban,0755))
	$(if $(has_systemd),$(call put,packaging/sipban.service.in,$(unitdir)/sipban.service,0644))
	$(if $(has_logrotate),$(call put,packaging/sipban.logrotate,$(sysconfdir)/logrotate.d/sipban,0644))
	$(call put_once,conf/sipban.conf,$(sysconfdir)/sipban.conf,0600)
	$(call put_once,conf/sipban.wl,$(sysconfdir)/sipban.wl,0644)
	$(if $(DESTDIR),,@packaging/next-steps '$(sbindir)' '$(sysconfdir)' '$(docdir)')

uninstall:
	rm -f '$(DESTDIR)$(sbindir)/sipban' '$(DESTDIR)$(initdir)/sipban' '$(DESTDIR)$(unitdir)/sipban.service' \
		'$(DESTDIR)$(sysconfdir)/logrotate.d/sipban' \
		$(foreach page,$(pages),'$(DESTDIR)$(call page_place,$(page))')
	rm -rf '$(DESTDIR)$(docdir)'
	@for file in $(sysconfdir)/sipban.conf $(sysconfdir)/sipban.wl $(sysconfdir)/sipban.dump \
		$(localstatedir)/lib/sipban $(localstatedir)/log/sipban.log; do \
		if test -e "$(DESTDIR)$$file"; then echo "kept $(DESTDIR)$$file"; fi; done

check: cargo
	tests/needs.sh check
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	shellcheck $(scripts)

test: cargo
	tests/needs.sh test
	$(CARGO) test --locked

demo: cargo
	tests/needs.sh demo
	$(CARGO) build --release --locked
	tests/demo.sh '$(binary)'

bench: cargo
	$(CARGO) bench --locked

clean: cargo
	$(CARGO) clean
