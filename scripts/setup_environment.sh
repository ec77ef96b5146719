#!/usr/bin/env bash
# Makes a virtual environment with everything in it, at the tested versions; `make setup` calls it.
#
#   scripts/setup_environment.sh .venv                          the Python whose set-up is quickest
#   scripts/setup_environment.sh .venv-3.10 python3.10          a chosen one
#   scripts/setup_environment.sh .venv '' sox                   and the sox program, which the tests need
#
# Does nothing where the environment is up to date, goes on where only the wanted versions changed, and starts anew
# where an install was cut off or another Python is asked for.
#
# apt-get installs what the machine lacks, as root or through `sudo -n`; the command is printed before it runs.
#   SPIN_FAIRSEQ_NO_APT=1         forbids that: what is missing is said, and the set-up stops
#   SPIN_FAIRSEQ_NO_UV=1          pip installs everything; otherwise uv does, and pip where uv cannot be had
#   SPIN_FAIRSEQ_FROM_SOURCE=1    fairseq is compiled from its sources, even where there is a ready wheel of it
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
python=${2:-}
programs=("${@:3}")
state=$venv/spin_fairseq_setup  # holds "installing", or the checksum of what was installed
log=$venv/setup.log
extras=praat,evaluation,onnx,pieces,fairseq-scripts,test,lint

say() { echo "set-up: $*"; }
stop() { echo "set-up: $*" >&2; exit 1; }
version_of() { "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null || true; }
read_state() { cat "$state" 2>/dev/null || true; }
checksum() { cat setup.py "constraints/py${1/./}.txt" scripts/setup_environment.sh | sha256sum | cut -d' ' -f1; }
supported() { [ -n "$1" ] && [ -e "constraints/py${1/./}.txt" ]; }

# --- what is there, and what is missing: all of it in one line, before anything is downloaded

missing=()
packages=()
for program in ${programs[@]+"${programs[@]}"}; do
    if ! command -v "$program" >/dev/null; then missing+=("the $program program"); packages+=("$program"); fi
done

existing=$(version_of "$venv/bin/python")
wanted=$existing  # an environment stays as it is unless PYTHON asks for another
if [[ $python =~ ^python(3\.[0-9]+)$ ]]; then wanted=${BASH_REMATCH[1]}; elif [ -n "$python" ]; then wanted=$(version_of "$python"); fi
ready=""
if supported "$wanted" && [ "$existing" = "$wanted" ] && [ "$(read_state)" = "$(checksum "$wanted")" ]; then ready=yes; fi

if [ -z "$ready" ]; then
    base=$python
    if [ -z "$python" ] && supported "$existing" && [ "$(read_state)" != installing ]; then base=$venv/bin/python; fi
    if found=$(scripts/find_python.sh "$base" 2>&1); then
        wanted=$(version_of "$found")
    else
        missing+=("${found%%: apt install *}")
        packages+=("${found##*: apt install }")
    fi
fi

if [ ${#missing[@]} -gt 0 ]; then
    what=$(printf '%s; ' "${missing[@]}")
    what="missing: ${what%; }."
    by_hand="On Debian or Ubuntu: apt install ${packages[*]}"
    as_root=(none)
    if [ "${SPIN_FAIRSEQ_NO_APT:-}" != 1 ] && [ "${SPIN_FAIRSEQ_TRIED:-}" != "${packages[*]}" ] && command -v apt-get >/dev/null; then
        if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); fi
    fi
    if [ "${as_root[*]-}" = none ]; then stop "$what $by_hand"; fi
    export DEBIAN_FRONTEND=noninteractive
    read -ra names <<<"${packages[*]}"
    apt_get=(${as_root[@]+"${as_root[@]}"} apt-get install -y --no-install-recommends "${names[@]}")
    say "$what Installing, which SPIN_FAIRSEQ_NO_APT=1 forbids: ${apt_get[*]}"
    ${as_root[@]+"${as_root[@]}"} apt-get update -qq </dev/null || say "apt-get update failed; going on with the old lists"
    "${apt_get[@]}" -qq </dev/null >/dev/null || stop "apt-get could not install it (above). $by_hand"
    SPIN_FAIRSEQ_TRIED="${packages[*]}" exec scripts/setup_environment.sh "$@"
fi

if [ -n "$ready" ]; then
    say "$venv is ready (Python $wanted)"
    exit 0
fi
if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -z "$(read_state)" ] && [ -n "$(ls -A "$venv")" ]; then
    stop "$venv is there and is not a virtual environment; choose another place: VENV=... make setup"
fi
constraints=$PWD/constraints/py${wanted/./}.txt

mkdir -p "$venv"  # locked while at work: two commands may be started at once
exec 9<"$venv"
if command -v flock >/dev/null && ! flock -n 9; then
    say "another set-up is at work in $venv; waiting for it"
    flock 9
    exec scripts/setup_environment.sh "$@"
fi

# --- install

trap 'exit 130' INT TERM  # or bash would go on after pip has been interrupted

# try_install PACKAGES: by uv or pip. The whole output goes to the log, the slow steps to the screen.
try_install() {
    local command=("$venv/bin/python" -m pip install --no-input --progress-bar off)
    if [ "$installer" = uv ]; then command=("$venv/bin/uv" pip install --python "$venv/bin/python" --no-progress); fi
    # The constraints as variables, not options, so that they hold in isolated builds too.
    # Without CUDA_HOME fairseq does not compile its CUDA operators, which nothing here uses and which often fail.
    env -u CUDA_HOME PIP_CONSTRAINT="$constraints" UV_CONSTRAINT="$constraints" UV_BUILD_CONSTRAINT="$constraints" \
        PIP_DISABLE_PIP_VERSION_CHECK=1 UV_PYTHON_DOWNLOADS=never ${uv_settings[@]+"${uv_settings[@]}"} \
        "${command[@]}" "$@" </dev/null 2>&1 | tee -a "$log" |
        sed -unE 's/^Installing collected.*/unpacking/; /Downloading .*[0-9]{2}\.[0-9] ?Mi?B|Building (wheel for )?fairseq|^unpacking/{s/^ */set-up:     /; p}'
}

install() {
    if try_install "$@"; then return; fi
    if [ "$installer" = uv ]; then
        say "uv could not install that (see $log); trying with pip"
        installer=pip
        if try_install "$@"; then return; fi
    fi
    rm -f "$state"  # the installer came back by itself, so nothing is half installed
    tail -n 15 "$log" >&2
    stop "the install failed (above: the end of $log); mend the cause and run the same command again"
}

if [ -n "$existing" ] && [ "$existing" != "$wanted" ]; then
    say "$venv was made with Python $existing; making it anew with $wanted"
    clear=--clear
elif [ "$(read_state)" = installing ]; then
    say "an earlier set-up of $venv was cut off; making it anew"
    clear=--clear
elif [ -z "$existing" ]; then
    clear=--clear
else
    clear=""
fi
if [ -n "$clear" ]; then
    say "1/3 $venv with $found"
    "$found" -m venv --clear "$venv"
fi
echo installing >"$state"
: >"$log"

installer=pip
uv_settings=()
if [ "${SPIN_FAIRSEQ_NO_UV:-}" != 1 ]; then
    if try_install uv && [ -x "$venv/bin/uv" ]; then
        installer=uv
        mapfile -t uv_settings < <("$venv/bin/python" -I scripts/uv_settings.py 2>>"$log")
    else
        say "uv cannot be had (see $log); pip does it, more slowly"
    fi
fi

# Which fairseq: docs/install.md. A ready wheel exists for CPython 3.11 and 3.12 on x86-64 Linux.
case $wanted in 3.11 | 3.12) train=train ;; *) train=train-from-source ;; esac
if [ "${SPIN_FAIRSEQ_FROM_SOURCE:-}" = 1 ]; then train=train-from-source; fi
if [ -z "$clear" ]; then  # two fairseqs would share one folder
    "$venv/bin/python" -m pip uninstall -y fairseq fairseq-fixed ve-fairseq </dev/null >>"$log" 2>&1 || true
fi
if [ $train = train ]; then
    say "2/3 fairseq, from its ready wheel"
    if ! try_install --no-deps --only-binary :all: ve-fairseq; then
        say "there is no ready wheel of fairseq for this machine, or it cannot be had (see $log)"
        rm -f "$state"
        SPIN_FAIRSEQ_FROM_SOURCE=1 exec scripts/setup_environment.sh "$@" 9<&-
    fi
else
    say "2/3 torch (with a GPU build: gigabytes), which fairseq is compiled with"
    # Python's own pip may be too new: from 24.1 on it refuses omegaconf 2.0, which fairseq 0.12.2 needs.
    install pip setuptools wheel cython numpy
    install torch
fi

# fairseq-fixed compiles against the torch just installed. fairseq 0.12.2 does not want torch for it: left to itself it
# is compiled without the torch operators (of non-autoregressive translation), in a third of the time.
isolation=()
if [ $train = train-from-source ] && [ "$wanted" != 3.10 ]; then
    isolation=(--no-build-isolation)
    if [ "$installer" = uv ]; then isolation=(--no-build-isolation-package fairseq-fixed); fi
    # zerospeech-libriabx2 finds its own version in an isolated build alone.
    if [ "$wanted" = 3.11 ] && [ "$installer" = pip ]; then install zerospeech-libriabx2; fi
fi
say "3/3 everything else$([ $train = train ] || echo ', and fairseq from its sources (minutes)')"
install ${isolation[@]+"${isolation[@]}"} pip setuptools wheel -e ".[$train,$extras]"

say "checking"
# soundfile has wheels with and without libsndfile. Where an index holds only the latter, uv takes that one, and looks into
# no further index for the same version; pip does. Without either the system's library will do.
loads_soundfile() { "$venv/bin/python" -W ignore -c 'import soundfile' </dev/null >>"$log" 2>&1; }
if ! loads_soundfile; then
    say "soundfile came without libsndfile; looking for another wheel of it"
    installer=pip
    try_install --force-reinstall --no-deps soundfile || true
    rm -f "$state"  # nothing is half installed
    loads_soundfile || stop "soundfile finds no libsndfile (see $log). On Debian or Ubuntu: apt install libsndfile1; then run the same command again"
fi
"$venv/bin/python" -W ignore -c '
import fairseq, numpy, spin_fairseq, torch
print(f"set-up: fairseq {fairseq.__version__}, torch {torch.__version__}, numpy {numpy.__version__}")' 9<&- ||
    stop "installed, but it does not import (above); see $log"
# fairseq asks for torchaudio, whose only build on PyPI needs the CUDA libraries: beside torch for CPUs it cannot be imported.
if ! "$venv/bin/python" -W ignore -c 'import torchaudio' </dev/null >>"$log" 2>&1; then
    say "torchaudio does not load beside this torch; removing it (nothing but fairseq's MFCC script and some tests use it)"
    "$venv/bin/python" -m pip uninstall -y torchaudio </dev/null >>"$log" 2>&1
fi
checksum "$wanted" >"$state"
say "$venv is ready (Python $wanted)"
