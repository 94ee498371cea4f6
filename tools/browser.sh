#!/bin/sh
# Sees to a Chromium for the tests that open the demo's page: tools/browser.sh
#
# Debian's own, installed when it is missing and you are root. Who is not gets told what to type, and those tests say
# that they were skipped; with CI=true in the environment they fail instead.
set -eu
say() { printf 'onduty: %s\n' "$*" >&2; }

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi
if ! command -v apt-get >/dev/null; then
    say "no chromium and chromedriver here: tests/browser is skipped. Install both with your system's package manager"
elif [ "$(id -u)" != 0 ]; then
    say "no chromium and chromedriver here: tests/browser is skipped. Type: sudo apt-get install chromium chromium-driver"
else
    say "installing Debian's packages chromium and chromium-driver, for tests/browser (about 100 MB to download, only now)"
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends chromium chromium-driver
fi
