#!/usr/bin/env bash
# The whole validation of memory on a machine with a GPU: environment, the tests that need CUDA, validation at 124M
# over 200 steps, then the largest size that fits, and a summary. Fails when any part fails.
#   scripts/validate_vram.sh [FOLDER] [DEVICE]
# Exit codes: 0 every part passed, 1 a part failed, 6 there is no GPU.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

OUT="${1:-runs/validate-vram-$(date -u +%Y%m%dT%H%M%SZ)}"
DEVICE="${2:-cuda}"
STEPS=200
LARGE_STEPS=50 # the forced cycle needs so many for its jumps
SUMMARY=()
FAILED=0

ensure_environment test
mkdir -p "$OUT"

# Run one part and keep what became of it; the next part runs whatever came of this one.
part() {
  local name="$1" status=0
  shift
  printf '\n== %s\n' "$name"
  "$@" || status=$?
  if ((status == 0)); then
    SUMMARY+=("passed  $name")
  else
    SUMMARY+=("FAILED  $name (exit $status)")
    FAILED=1
  fi
}

# Print the device's memory in GiB; exit 6 without a GPU.
gpu_gib() {
  "$VENV/bin/python" - "$DEVICE" <<'PYTHON'
import sys

from hpt.memory.probe import describe_sources, is_gpu, limit_bytes

device = sys.argv[1]
print("\n".join(describe_sources(device)), file=sys.stderr)
if not is_gpu(device):
    sys.exit(6)
print(f"{limit_bytes(device) / 1024**3:.2f}")
PYTHON
}

# Print "MODEL DTYPE" of the largest size that fits one window, by estimate; nothing when not even gpt2 does.
largest_that_fits() {
  local model
  for model in gpt2-xl gpt2-large gpt2-medium gpt2; do
    if "$VENV/bin/hpt" validate-vram --model "$model" --estimate --budget-gb "$1" --batch-size 1 \
      --out "$OUT/estimate-$model" >&2; then
      "$VENV/bin/python" - "$OUT/estimate-$model/estimate.json" "$model" <<'PYTHON'
import json, sys
from pathlib import Path

print(sys.argv[2], json.loads(Path(sys.argv[1]).read_text())["plans"]["chosen"]["dtype"])
PYTHON
      return
    fi
  done
}

validate() {
  "$VENV/bin/hpt" validate-vram --device "$DEVICE" "$@"
}

GIB="$(gpu_gib)" || {
  status=$?
  say "no GPU to validate on device $DEVICE (exit $status); hpt validate-vram measures the host instead"
  exit 6
}
say "device $DEVICE has $GIB GiB"

cd "$ROOT"
part "tests that need CUDA" "$VENV/bin/python" -m pytest -q -m cuda
part "validation of gpt2" validate --model gpt2 --steps "$STEPS" --out "$OUT/gpt2"
read -r MODEL DTYPE <<<"$(largest_that_fits "$GIB")" || true
if [[ -z "${MODEL:-}" ]]; then
  part "largest size that fits" false
elif [[ "$MODEL" != gpt2 ]]; then
  part "validation of $MODEL ($DTYPE), the largest that fits" \
    validate --model "$MODEL" --dtype "$DTYPE" --steps "$LARGE_STEPS" --out "$OUT/$MODEL"
fi

printf '\n== summary (%s)\n' "$OUT"
printf '%s\n' "${SUMMARY[@]}" | tee "$OUT/summary.txt"
exit "$FAILED"
