"""Finds gains over the baseline that are told without the best other optimizer, or the words that none was tried."""

import re
from collections.abc import Collection, Iterator

METHOD = re.compile(
    r"(?<![\w-])(?:hybrid|nesterov|unlearned|default trainer|tuned baseline's loss|default predictor|with prediction"
    r"|wall-clock ratio to the)"
)
THRESHOLD = "accelerates: interval above 1"
BY_ITSELF = re.compile(
    r"(?:muon|soap)(?:, the best (?:other )?optimizer,?)? by itself|best (?:other one|optimizer of each) by itself"
)
AMONG_ALL = re.compile(r"(?:muon|soap), the best (?:other )?optimizer by itself")
NO_OTHER = re.compile("no other optimizer was tried", re.IGNORECASE)
OTHER_MATTERS = re.compile(r"with it over without|peak device memory|\*\*not measured\*\*|prior of \d+ runs")
"""Parts of the trainer against each other, bytes, targets without a number, and what was believed beforehand."""
RATIO = re.compile(r"(?<!by itself )(?<!\w)(\d+\.\d+)x")


def untold(text: str, several: Collection[str], single: Collection[str]) -> Iterator[str]:
    """Lines of a page that tell a gain and not what must stand beside it.

    Args:
        text: Markdown; a row of a table is read with the table's head.
        several: file names of comparisons of several optimizers, as links have them: what others gain must be told.
        single: of comparisons with one: that no other was tried must be told.
    """
    head = ""
    for line in text.splitlines():
        is_row = line.startswith("|")
        head = (head or line) if is_row else ""
        whole = f"{head} {line}" if is_row else line
        if not line.startswith("#") and not OTHER_MATTERS.search(whole) and _tells_a_gain(whole):
            linked = [any(name in line for name in names) for names in (several, single)]
            has_peer = bool(BY_ITSELF.search(whole) or AMONG_ALL.search(whole))
            has_none = bool(NO_OTHER.search(whole))
            wanted = {(True, False): has_peer, (False, True): has_none}.get(
                (linked[0], linked[1]), has_peer or has_none
            )
            if not wanted:
                yield line


def _tells_a_gain(text: str) -> bool:
    plain = text.replace(THRESHOLD, "")
    is_better = "accelerates" in plain or "nats lower" in plain
    return bool(METHOD.search(plain)) and (is_better or any(float(one) > 1.0 for one in RATIO.findall(plain)))
