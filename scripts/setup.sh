# shellcheck shell=bash
# Sourced by the other scripts: installs what they need and says nothing when there is nothing to do.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=() # Debian packages that `need` found absent
python=    # an interpreter that can make the virtual environment

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# need COMMAND-or-/file PACKAGE…: where it is absent, note the packages that bring it.
need() {
    case $1 in
    /*) [[ -e $1 ]] ;;
    *) command -v "$1" >/dev/null ;;
    esac || missing+=("${@:2}")
}

# Without dpkg nobody knows what the debug info is called; heapx has layouts of its own to fall back on.
need_libc_debug_info() {
    command -v dpkg-query >/dev/null || return 0
    [[ $(dpkg-query -W -f '${db:Status-Status}' libc6-dbg 2>/dev/null) == installed* ]] ||
        missing+=(libc6-dbg)
}

# What every script that runs a live process under gdb needs.
need_gdb_and_gcc() {
    need gdb gdb
    need_libc_debug_info
    need gcc gcc
    need /usr/include/stdlib.h libc6-dev
}

# The system's Python comes first: gdb is mostly linked with that one and imports from .venv.
find_python() {
    while read -r python; do
        "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))' 2>/dev/null &&
            return
    done < <(printf '%s\n' /usr/bin/python3; type -ap python3)
    return 1 # with $python empty
}

# What tests of remote targets, of other architectures and of another compiler run on.
need_other_machines() {
    need gdbserver gdbserver
    need gdb-multiarch gdb-multiarch
    need qemu-s390x-static qemu-user-static
    need clang clang
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    need s390x-linux-gnu-gcc gcc-s390x-linux-gnu libc6-dev-s390x-cross
}

# What tests compare heapx with, what compiles their programs in C++, another malloc, and the browser
# that shows pages.
need_checkers() {
    need valgrind valgrind
    need g++ g++
    need "/usr/lib/$(uname -m)-linux-gnu/libjemalloc.so.2" libjemalloc2
    need chromium chromium
    need pdftotext poppler-utils
}

need_python() {
    find_python || missing+=(python3-venv)
}

apt() {
    local as_root=(env)
    ((EUID == 0)) || as_root=(sudo env)
    # RUNLEVEL=1: a package of a server doesn't start it.
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o DPkg::Lock::Timeout=120 "$@"
}

apt_install() {
    apt install -y --no-install-recommends "${missing[@]}"
}

# Install what `need` noted. The package lists are fetched only if it can't be done with those at hand.
install_missing() {
    ((${#missing[@]})) || return 0
    local problem log remedy="As root: apt-get update && apt-get install ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        problem="this system has no apt-get"
        remedy="Install them (Debian's names; yours may differ)"
    elif ((EUID)) && ! command -v sudo >/dev/null; then
        problem="only root may install packages, and there is no sudo"
    else
        printf 'installing %s\n' "${missing[*]}" >&2
        log=$(apt_install 2>&1 </dev/null || { apt update && apt_install; } 2>&1 </dev/null) && missing=() && return
        problem="apt-get failed: ${log:-it did not say why}"
    fi
    die "not installed: ${missing[*]} ($problem). $remedy. Then run this again."
}

# compiler_for MACHINE: its gcc, of this machine or one that compiles for another.
compiler_for() {
    [[ $1 == "$(uname -m)" ]] && printf gcc || printf '%s-linux-gnu-gcc' "$1"
}

# Compile the walk in place, where that is new or has changed; without it heapx walks in Python.
compile_walk() {
    local file
    file=gdb_heapx/heap/walk-$(uname -m).so
    [[ -e $file && ! $(find gdb_heapx -name "*.[ch]" -newer "$file") ]] || scripts/build_walk "$file" || true
}

# venv runtime [EXTRA…]: make or refresh .venv with the project, editable, and these extras of setup.cfg.
# The stamps name the tree too: a copied .venv still points at the tree it came from.
venv() {
    local part stamp extras stale=''
    compile_walk
    stamp="$PWD $(cat setup.cfg setup.py pyproject.toml | cksum)"
    for part in "$@"; do
        [[ $(cat ".venv/installed-$part" 2>/dev/null) == "$stamp" ]] || stale=yes
    done
    .venv/bin/python -c '' 2>/dev/null || stale=yes
    [[ $stale ]] || return 0

    [[ $python ]] || find_python ||
        die "no Python >= 3.9 with a venv module: install one as python3 and put it on PATH, then run this again."
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
    printf 'installing the Python packages into .venv\n' >&2
    extras=$(IFS=,; printf '%s' "${*:2}")
    .venv/bin/python -m pip install -q --disable-pip-version-check -e ".${extras:+[$extras]}" ||
        die "pip could not install what setup.cfg asks for: see its message above; is a package index within reach?"
    for part in "$@"; do
        printf '%s\n' "$stamp" >".venv/installed-$part"
    done
}
