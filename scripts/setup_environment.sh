#!/usr/bin/env bash
# Makes a virtual environment with everything in it, at the tested versions; `make setup` calls it.
#
#   scripts/setup_environment.sh .venv                          the newest suitable Python
#   scripts/setup_environment.sh .venv-3.10 python3.10          a chosen one
#
# Does nothing where the environment is up to date, goes on where only the wanted versions changed, and starts anew
# where an install was cut off or another Python is asked for.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
python=${2:-}
state=$venv/spin_fairseq_setup  # holds "installing", or the checksum of what was installed
log=$venv/setup.log

say() { echo "set-up: $*"; }
stop() { echo "set-up: $*" >&2; exit 1; }
version_of() { "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null || true; }
read_state() { cat "$state" 2>/dev/null || true; }

# --- what the machine must have: all that is missing in one line, before anything is downloaded

missing=()
packages=()
if ! command -v sox >/dev/null; then missing+=("the sox program"); packages+=(sox); fi
if ! command -v g++ >/dev/null; then missing+=("a C++ compiler"); packages+=(g++); fi

existing=$(version_of "$venv/bin/python")
wanted=$existing  # an environment stays as it is unless PYTHON asks for another
if [ -n "$python" ] || [ ! -e "constraints/py${existing/./}.txt" ] || [ "$(read_state)" = installing ]; then
    if found=$(scripts/find_python.sh "$python" 2>&1); then
        wanted=$(version_of "$found")
    else
        missing+=("${found%%: apt install *}")
        packages+=("${found##*: apt install }")
    fi
fi
if [ ${#missing[@]} -gt 0 ]; then
    what=$(printf '%s; ' "${missing[@]}")
    stop "missing: ${what%; }. On Debian or Ubuntu: apt install ${packages[*]}"
fi

if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -z "$(read_state)" ] && [ -n "$(ls -A "$venv")" ]; then
    stop "$venv is there and is not a virtual environment; choose another place: VENV=... make setup"
fi

# --- is there anything to do?

constraints=constraints/py${wanted/./}.txt
checksum=$(cat setup.py "$constraints" scripts/setup_environment.sh | sha256sum | cut -d' ' -f1)
if [ "$existing" = "$wanted" ] && [ "$(read_state)" = "$checksum" ]; then
    say "$venv is ready (Python $wanted)"
    exit 0
fi

mkdir -p "$venv"  # locked while at work: two commands may be started at once
exec 9<"$venv"
if command -v flock >/dev/null && ! flock -n 9; then
    say "another set-up is at work in $venv; waiting for it"
    flock 9
    exec scripts/setup_environment.sh "$@"
fi

# --- install

trap 'exit 130' INT TERM  # or bash would go on after pip has been interrupted

# install PACKAGES: pip's whole output goes to the log, the slow steps to the screen.
install() {
    # The constraints as a variable, not an option, so that they hold in pip's isolated builds too.
    # Without CUDA_HOME fairseq does not compile its CUDA operators, which nothing here uses and which often fail.
    if ! env -u CUDA_HOME PIP_CONSTRAINT="$constraints" PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$venv/bin/python" -m pip install --no-input --progress-bar off "$@" </dev/null 2>&1 | tee -a "$log" |
        sed -unE 's/^Installing collected.*/unpacking/; /Downloading .*[0-9]{2}\.[0-9] MB|Building wheel for fairseq|^unpacking/{s/^ */set-up:     /; p}'; then
        rm -f "$state"  # pip came back by itself, so nothing is half installed
        tail -n 15 "$log" >&2
        stop "pip failed (above: the end of $log); mend the cause and run the same command again"
    fi
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
    say "1/4 $venv with $found"
    "$found" -m venv --clear "$venv"
fi
echo installing >"$state"
: >"$log"

say "2/4 pip, setuptools, numpy"
# Python's own pip may be too new: from 24.1 on it refuses omegaconf 2.0, which fairseq 0.12.2 needs.
install pip setuptools wheel cython numpy
say "3/4 torch (with a GPU build: gigabytes)"
install torch torchaudio
say "4/4 fairseq, compiled where it has no wheel (minutes), and everything else"
# fairseq-fixed compiles against the torch just installed. fairseq 0.12.2 does not want torch for it: left to itself it
# is compiled without the torch operators (of non-autoregressive translation), in a third of the time.
# zerospeech-libriabx2 finds its own version in an isolated build alone.
case $wanted in 3.9 | 3.10) isolation="" ;; *) isolation=--no-build-isolation ;; esac
if [ "$wanted" = 3.11 ]; then install zerospeech-libriabx2; fi
install $isolation -e '.[praat,demo,evaluation,report,plots,onnx,fairseq-scripts,test]'

say "checking"
"$venv/bin/python" -W ignore -c '
import fairseq, numpy, spin_fairseq, torch
print(f"set-up: fairseq {fairseq.__version__}, torch {torch.__version__}, numpy {numpy.__version__}")' 9<&- ||
    stop "installed, but it does not import (above); see $log"
echo "$checksum" >"$state"
say "$venv is ready (Python $wanted)"
