#!/usr/bin/env bash
# Prints the path of the Python to build the environment with.
#
#   scripts/find_python.sh               the one whose set-up is quickest: 3.12, 3.11, then 3.13, 3.10
#   scripts/find_python.sh python3.10    this one: a name or a path
#
# Suitable: 3.10 to 3.13, it runs (a pyenv shim may be there and not run), it can make virtual environments, and where
# something must be compiled for it there are a C++ compiler and its C headers. Python 3.12 on x86-64 has ready wheels of
# everything. What is on the PATH goes before what only pyenv's folder holds.
# Where there is none: exit status 1, and one line on stderr, "WHAT IS MISSING: apt install PACKAGES".
set -euo pipefail

asked=${1:-}
pyenv_root=$(pyenv root 2>/dev/null || echo "${PYENV_ROOT:-${HOME:-/root}/.pyenv}")

# Prints four lines: version, path, the Debian packages that this interpreter lacks, and what they bring.
probe='
import os, platform, shutil, sys, sysconfig
from importlib.util import find_spec
name = "python%d.%d" % sys.version_info[:2]
libc, release = platform.libc_ver()
new_libc = libc == "glibc" and tuple(int(number) for number in release.split(".")[:2]) >= (2, 28)
ready = name == "python3.12" and platform.machine() == "x86_64" and new_libc
compiles = not ready or os.environ.get("SPIN_FAIRSEQ_FROM_SOURCE") == "1"
lacks = {}
if not (find_spec("venv") and find_spec("ensurepip")):
    lacks[name + "-venv"] = "virtual environments"
if compiles and not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    lacks[name + "-dev"] = "C headers"
if compiles and not shutil.which("g++"):
    lacks["g++"] = "a C++ compiler"
print(name, sys.executable, " ".join(lacks), ", ".join(lacks.values()), sep="\n")
'

complaint=""  # the first interpreter that runs but lacks something
too_new=""    # one from 3.14 on

# try CANDIDATE NAME: prints the path and ends the search if the candidate is a whole NAME ("python3.11").
try() {
    local answer
    mapfile -t answer < <("$1" -I -c "$probe" 2>/dev/null </dev/null || true)
    if [[ ${answer[0]:-} =~ ^python3\.(1[4-9]|[2-9][0-9])$ ]]; then too_new=${answer[0]}; fi
    [ "${answer[0]:-}" = "$2" ] || return 0
    if [ -z "${answer[2]:-}" ]; then
        echo "${answer[1]}"
        exit 0
    fi
    complaint=${complaint:-"what ${answer[1]} needs (${answer[3]:-see the packages}): apt install ${answer[2]}"}
}

on_path() { # NAME
    local candidate
    while read -r candidate; do
        try "$candidate" "$1"
    done < <(type -aP "$1" python3 python)
}

in_pyenv() { # NAME: the newest patch release first
    local candidate
    while read -r candidate; do
        try "$candidate" "$1"
    done < <(ls -d "$pyenv_root/versions/${1#python}".*/bin/python 2>/dev/null | sort -rV)
}

versions="3.12 3.11 3.13 3.10"
if [ -z "$asked" ]; then
    for look in on_path in_pyenv; do
        for version in $versions; do
            $look "python$version"
        done
    done
    missing="a suitable Python (3.10 to 3.13): apt install python3 python3-venv python3-dev g++"
elif [[ $asked =~ ^python3\.(10|11|12|13)$ ]]; then
    on_path "$asked"
    in_pyenv "$asked"
    missing="a $asked that runs: apt install $asked $asked-venv $asked-dev g++"
else # a path, or a name such as python3
    for version in $versions; do
        try "$asked" "python$version"
    done
    missing="a suitable Python (PYTHON=$asked does not run or is none of 3.10 to 3.13): apt install python3 python3-venv python3-dev g++"
fi
if [ -n "$too_new" ]; then
    # Seen with hydra-core 1.3.2 to 1.3.6: Python 3.14's argparse refuses the help text of hydra's --shell-completion.
    missing="a Python up to 3.13 ($too_new is too new: hydra, which fairseq-hydra-train is built on, does not start from Python 3.14 on): apt install python3.13 python3.13-venv python3.13-dev g++"
fi
echo "${complaint:-$missing}" >&2
exit 1
