#!/bin/sh
# Whether the packages that SIPban is built of may be: their licences, sources and versions, and what is known
# against them.
set -eu
cd "$(dirname "$0")/.."

cargo deny --locked check bans licenses sources

# The database of advisories is brought up to date first. Where it cannot be had, an old copy is no answer.
if cargo deny fetch db; then
    cargo deny --locked check --disable-fetch advisories
else
    cat >&2 <<END

*** SKIPPED: the database of advisories cannot be had, so nobody looked whether a package is known to be broken ***
*** or has no maintainer any more. Call tests/deny.sh again where it can.                                     ***

END
fi
