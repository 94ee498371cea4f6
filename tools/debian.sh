#!/bin/sh
# Sees to programs that pip can't bring: tools/debian.sh browser|bench
#
# Debian's own, installed when they are missing and you are root. Who is not gets told what to type; what needs them
# says that it was skipped, and with CI=true in the environment those tests fail instead.
set -eu
say() { printf 'onduty: %s\n' "$*" >&2; }

case ${1:-} in
    browser) programs="chromium chromedriver" packages="chromium chromium-driver" needs="tests/browser" size="100 MB" ;;
    bench) programs="wrk nginx redis-server" packages="wrk nginx-light redis-server" needs="the benchmarks' other side" size="5 MB" ;;
    *) say "usage: tools/debian.sh browser|bench"; exit 1 ;;
esac

PATH=$PATH:/usr/sbin # nginx
missing=
for program in $programs; do command -v "$program" >/dev/null || missing="$missing $program"; done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    say "not here, and $needs must do without:$missing. Install them with your system's package manager"
elif [ "$(id -u)" != 0 ]; then
    say "not here, and $needs must do without:$missing. Type: sudo apt-get install $packages"
else
    say "installing Debian's packages $packages, for $needs (about $size to download, only now)"
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages
fi
