# shellcheck shell=bash
# The virtual environment at the root of the checkout, made when missing and brought up to date when stale.
# Sourced by scripts/hpt and scripts/check, never run. Messages go to stderr, so that stdout stays the command's own.
#
# Stale means: the stamp in .venv does not hold the checksum of pyproject.toml, constraints.txt, this file, Python's
# version and the place of the checkout. The stamp goes before an install begins and comes back after it ends, so an
# install that was cut off is repeated.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
STAMP="$VENV/installed"
RUN_EXTRAS="peers,tensorboard,cluster"  # what the documented commands need; frameworks and trackers are the user's own

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

# Print the first interpreter that is new enough and can make environments.
find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  say "no Python >= 3.11 with venv and pip was found; install one (on Debian: python3 and python3-venv)"
  return 1
}

# Print what the stamp must hold; fails when the environment's interpreter is missing, broken or too old.
wanted_stamp() {
  "$VENV/bin/python" -I -S - "$ROOT" 2>/dev/null <<'PYTHON'
import hashlib, sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit(1)
root = Path(sys.argv[1])
parts = [(root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt", "scripts/environment.sh")]
parts += [sys.version.encode(), str(root).encode()]
print(hashlib.sha256(b"\0".join(parts)).hexdigest())
PYTHON
}

# Is everything that `$1` (run or test) asks for installed? The test environment serves a run as well.
is_fresh() {
  local wanted found=""
  wanted="$(wanted_stamp)" || return 1
  if [[ -f "$STAMP" ]]; then found="$(<"$STAMP")"; fi
  [[ "$found" == "test $wanted" || "$found" == "$1 $wanted" ]]
}

# Can the environment be installed into, or must it be made anew? A moved one still points to its old place.
is_usable() {
  wanted_stamp >/dev/null && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 &&
    head -n 3 "$VENV/bin/pip" 2>/dev/null | grep -qF "$VENV/bin/python"
}

# Run one named step of the installation; on failure say which it was.
install_step() {
  local name="$1"
  shift
  say "$name ..."
  if ! "$@" >&2; then
    say "FAILED: $name; the messages above say why. Mend that and run the same command again"
    return 1
  fi
}

pip_install() {
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c "$ROOT/constraints.txt" "$@"
}

make_environment() {
  local python
  python="$(find_python)"
  rm -rf "$VENV"
  install_step "make .venv with $("$python" --version)" "$python" -m venv "$VENV"
}

# Torch comes first and by its exact pin: a looser request may resolve to a build with gigabytes of GPU libraries.
install_everything() {
  local wanted="$1" torch_pin extras="$RUN_EXTRAS"
  torch_pin="$(grep -E '^torch==' "$ROOT/constraints.txt")"
  if [[ "$wanted" == test ]]; then extras="test"; fi
  install_step "install $torch_pin (the largest part)" pip_install "$torch_pin"
  install_step "install the build tools" pip_install hatchling editables
  install_step "install the project ($wanted)" pip_install --no-build-isolation --editable "${ROOT}[$extras]"
}

# Two commands at once must not write to one environment: the second waits here for the first. The lock belongs to an
# open file, so it goes when the process does. Where the system has no flock, do not start two at once.
hold_lock() {
  exec 9<"$ROOT/pyproject.toml"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "another command is preparing .venv, waiting for it ..."
    flock 9
  fi
}

release_lock() { exec 9<&-; }

# Bring .venv up to date for `$1`: run (the project), or test (with what the checks need).
ensure_environment() {
  local wanted="$1"
  if is_fresh "$wanted"; then return; fi
  hold_lock
  if is_fresh "$wanted"; then  # the command that held the lock did the work
    release_lock
    return
  fi
  if is_usable; then say ".venv is out of date, updating it"; else make_environment; fi
  if [[ -f "$STAMP" && "$(<"$STAMP")" == test* ]]; then wanted=test; fi
  rm -f "$STAMP"
  install_everything "$wanted"
  printf '%s %s\n' "$wanted" "$(wanted_stamp)" >"$STAMP"
  say ".venv is ready"
  release_lock
}
