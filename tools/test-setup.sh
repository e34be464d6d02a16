#!/bin/bash
# Prepare a fresh Debian 12 (with git, python3, python3-venv and apt) for this clone's tests:
# tox and bindep in .venv, and the packages of bindep.txt. May be run again at any time.
set -euo pipefail

cd "$(dirname "$0")/.."

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
apt_get() {
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

apt_get --quiet update

if ! [ -x .venv/bin/pip ]; then
    # The venv of Debian's python3 needs a package that bindep, not there yet, would name.
    python3 -c 'import ensurepip' 2> /dev/null || apt_get --yes install python3-venv
    python3 -m venv .venv
fi
.venv/bin/pip install --quiet --upgrade bindep tox

# Exits with 1 when it lists something, and with an empty list when it has failed: so ask again.
missing=$(.venv/bin/bindep --brief test || true)
if [ -n "$missing" ]; then
    mapfile -t packages <<< "$missing"
    apt_get --yes install --no-install-recommends "${packages[@]}"
fi
.venv/bin/bindep --brief test
