"""Windows of text, the split they respect, and the sizes that are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.errors import DataError, UsageError
from hpt.workloads.byte_gpt import ByteGPT, ByteGPTSize
from hpt.workloads.gpt2 import GPT2Text
from hpt.workloads.transformer import GPTShape

CPU = torch.device("cpu")


def numbered_text(folder: Path, num_words: int) -> Path:
    """A file in which every three bytes in a row occur once, so a window tells where it comes from."""
    path = folder / "numbered"
    path.write_bytes(b"".join(bytes([255, n // 250, n % 250]) for n in range(num_words)))
    return path


def test_windows_are_runs_of_the_training_text_and_never_of_the_held_out(tmp_path: Path) -> None:
    """A training window is a run of training bytes, and none of its three-byte words is held out."""
    size = ByteGPTSize(dim=8, layers=1, heads=1, context=16, batch_size=8)
    workload = ByteGPT(size, seed=0, data=numbered_text(tmp_path, 20_000), device=CPU)
    train, held_out = workload.text.train.tobytes(), workload.text.validation.tobytes()
    words = {held_out[i : i + 3] for i in range(len(held_out) - 2) if held_out[i] == 255}
    assert len(words) > 1000
    for index in range(10):
        for row in workload.batch(index).tolist():
            window = bytes(row)
            assert window in train
            assert not any(window[i : i + 3] in words for i in range(15) if window[i] == 255)
    for batch in workload.validation_batches():
        assert all(bytes(row) in held_out for row in batch.tolist())


def test_windows_reach_both_ends_of_the_training_text(tmp_path: Path) -> None:
    """Over many draws from a short text, first and last byte are both seen, and nothing overruns."""
    size = ByteGPTSize(dim=8, layers=1, heads=1, context=4, batch_size=16)
    workload = ByteGPT(size, seed=0, data=numbered_text(tmp_path, 120), device=CPU)
    train = workload.text.train
    windows = {bytes(row) for index in range(200) for row in workload.batch(index).tolist()}
    assert train[:5].tobytes() in windows
    assert train[-5:].tobytes() in windows


def test_default_validation_set_is_131_thousand_tokens() -> None:
    """64 batches of 64 windows of 32 predicted bytes, spread over the whole held-out text."""
    workload = ByteGPT(seed=0, data=None, device=CPU)
    batches = workload.validation_batches()
    assert sum(batch[:, 1:].numel() for batch in batches) == 131_072
    held_out = torch.as_tensor(np.array(workload.text.validation)).long()
    assert torch.equal(batches[0][0], held_out[:33])
    assert torch.equal(batches[-1][-1], held_out[-33:])


@given(context=st.integers(1, 40), batch_size=st.integers(1, 20), extra=st.integers(0, 300))
@settings(max_examples=40, deadline=None)
def test_any_text_that_is_not_refused_serves(
    tmp_path_factory: pytest.TempPathFactory, context: int, batch_size: int, extra: int
) -> None:
    """From the least length on, training and validation windows exist; one byte less is refused."""
    window = context + 1
    least = max(4 * batch_size, 32) * window
    path = tmp_path_factory.mktemp("text") / "text"
    size = ByteGPTSize(dim=4, layers=1, heads=1, context=context, batch_size=batch_size)
    path.write_bytes(b"a" * (least + extra))
    workload = ByteGPT(size, seed=0, data=path, device=CPU)
    assert workload.batch(0).shape == (batch_size, window)
    assert all(batch.shape[1] == window for batch in workload.validation_batches())
    path.write_bytes(b"a" * (least - 1))
    with pytest.raises(DataError, match="give more text"):
        ByteGPT(size, seed=0, data=path, device=CPU)


def test_loss_is_the_mean_log_probability_of_the_next_byte() -> None:
    """Against a loop over rows and positions, inputs and targets one apart."""
    size = ByteGPTSize(dim=8, layers=1, heads=2, context=5, batch_size=3)
    workload = ByteGPT(size, seed=0, data=None, device=CPU)
    model, batch = workload.build_model(), workload.batch(0)
    shares = model(batch[:, :5]).log_softmax(-1).detach()
    total = sum(float(shares[row, place, batch[row, place + 1]]) for row in range(3) for place in range(5))
    assert float(workload.loss(model, batch).detach()) == pytest.approx(-total / 15, rel=1e-5)


@pytest.mark.parametrize("seq_len", [0, 1025])
def test_window_beyond_the_context_is_refused(seq_len: int) -> None:
    """GPT-2 sees 1024 tokens, and at least one."""
    with pytest.raises(UsageError, match=f"seq_len is {seq_len}, not within 1 and the context 1024; change it"):
        GPT2Text("gpt2-nano", seed=0, data=None, device=CPU, seq_len=seq_len)


def test_empty_batch_is_refused() -> None:
    """A batch holds at least one window."""
    with pytest.raises(UsageError, match="batch_size is 0, below 1; raise it"):
        GPT2Text("gpt2-nano", seed=0, data=None, device=CPU, batch_size=0)


def test_uneven_heads_are_refused() -> None:
    """A width that heads cannot share is refused before any weight is made."""
    with pytest.raises(UsageError, match="dim is 10, no multiple of heads, which is 3; change one of them"):
        GPTShape(layers=1, heads=3, dim=10, vocabulary=5, context=5)
