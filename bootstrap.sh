#!/bin/sh
# Sets this machine up (Debian 12 or 13, Ubuntu 24.04) and runs `lab` with the arguments.
#   ./bootstrap.sh run     boot the default virtual board, print the sharing matrix
#   ./bootstrap.sh test    the project's own checks
# What is already there is left alone, so a second call costs nothing.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
venv=$root/.venv

say() { printf '%s\n' "bootstrap: $*" >&2; }
die() { say "$*"; exit 2; }

# --- system packages: program (or file) to look for, package that has it -------------------
needed() {
    while read -r probe package; do
        case $probe in
            '') ;;
            /*) [ -e "$probe" ] || printf '%s ' "$package" ;;
            python:*) python3 -c "import ${probe#python:}" 2>/dev/null || printf '%s ' "$package" ;;
            *) command -v "$probe" >/dev/null 2>&1 || printf '%s ' "$package" ;;
        esac
    done <<PACKAGES
python3 python3
python:ensurepip python3-venv
qemu-system-aarch64 qemu-system-arm
mmdebstrap mmdebstrap
sqfstar squashfs-tools
ssh openssh-client
git git
/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
$tests
PACKAGES
}

# The tests' own: an ssh server that is only a program, a browser for the pages, a database server, another
# reader of our archives, what kernels and their packages are compressed by; in CI, also what Jenkins reads its pipelines with.
tests=
[ "${1-}" = test ] && tests='/usr/sbin/dropbear dropbear-bin
chromium chromium
/usr/lib/postgresql postgresql
cpio cpio
zstd zstd
lz4 lz4'
[ "${1-}${CI-}" = testtrue ] && tests="$tests
/usr/share/java/groovy-all.jar groovy"

missing=$(needed)
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || die "please install by hand (no apt-get here): $missing"
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || die "please run as root: apt-get install $missing"
        sudo=sudo
    fi
    say "installing $missing"
    log=$(mktemp)
    install() {
        # shellcheck disable=SC2086 # the package list is words on purpose
        $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing
    }
    if [ -t 2 ]; then # a person sees apt's own progress
        install >&2 || die "apt-get failed"
    elif ! install >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "apt-get failed, see $log"
    fi
    rm -f "$log"
fi

# Often set in containers: each process of the lab would compile all that it imports.
unset PYTHONDONTWRITEBYTECODE

# --- Python: one virtual environment, made anew only when what it needs changes --------------
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed"
extra=
[ "${1-}" = test ] && extra='[dev]'
want=$({ python3 -V; echo "$root"; cat "$root/pyproject.toml"; } | sha256sum)
stamp=$venv/.bootstrap
if ! { grep -qxF "$want$extra" "$stamp" 2>/dev/null || grep -qxF "${want}[dev]" "$stamp" 2>/dev/null; }; then
    say "setting up the virtual environment in .venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    quiet=--quiet
    [ -t 2 ] && quiet=--no-color # a person sees pip's own progress
    # What is imported is compiled then; pip would compile all there is.
    "$venv/bin/python" -m pip install $quiet --no-compile --disable-pip-version-check --editable "$root$extra" >&2 ||
        die "pip failed; is the package index reachable?"
    printf '%s\n' "$want$extra" >"$stamp"
fi

[ $# -gt 0 ] || set -- --help
exec "$venv/bin/lab" "$@"
