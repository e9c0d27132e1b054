"""The peak meter finds a peak that is over when it looks, by either of its methods on the host."""

import pytest
import torch
from references.spike import spike

from hpt.memory import peak
from hpt.memory.peak import PeakMeter
from hpt.memory.probe import resident_bytes

CPU = torch.device("cpu")
BYTES = 48 * 1024**2
HELD_S = 0.05  # long enough for a sampler


@pytest.mark.parametrize("can_reset", [True, False])
def test_a_spike_between_start_and_stop_is_seen(monkeypatch: pytest.MonkeyPatch, can_reset: bool) -> None:
    """48 MiB for a moment; the method used is named."""
    if not can_reset:
        monkeypatch.setattr(peak, "reset_high_water", lambda: False)
    meter = PeakMeter(CPU)
    assert meter.method == ("VmHWM, reset" if can_reset else "resident set, sampled")
    before = resident_bytes()
    meter.start()
    spike(BYTES, HELD_S)
    found = meter.stop()
    assert found is not None
    assert 0.9 * BYTES < found - before < 1.5 * BYTES


def test_a_split_starts_anew_and_the_whole_keeps_the_highest() -> None:
    """The peak of the second half does not see the first half's; the whole does."""
    meter = PeakMeter(CPU)
    meter.start()
    spike(BYTES, HELD_S)
    first = meter.split()
    second = meter.split()
    assert first is not None
    assert second is not None
    assert first - second > 0.9 * BYTES
    assert meter.stop() == first
