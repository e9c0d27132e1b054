"""VRAM_MANAGEMENT_SUMMARY: five layers, and of each the mechanism, the trigger, the measured effect and the cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpt_reports.claims import claims
from hpt_reports.evidence import Evidence
from hpt_reports.formatting import NOT_MEASURED, harmless, num_bytes, seconds, table
from hpt_reports.kinds import ESTIMATES, MEMORY
from hpt_reports.memory_runs import WORDS, Validation, validations
from hpt_reports.page import REACHED, REPORTED, Links, Missing, Page, VerdictRow, absent, counted
from hpt_reports.pages import estimates

NAME = "VRAM_MANAGEMENT_SUMMARY"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as it is built.

    Attributes:
        name: short.
        mechanism: what it does.
        trigger: when.
        checks: of the validation that show its effect.
        drills: that show it.
    """

    name: str
    mechanism: str
    trigger: str
    checks: tuple[str, ...] = ()
    drills: tuple[str, ...] = ()


LAYERS = (
    Layer(
        "in place",
        "jumps and updates write into the tensors that are there; a counter watches every address",
        "every call",
        ("copies", "layer 1 saves"),
    ),
    Layer(
        "clean-up",
        "memory that an allocator holds and nobody uses is given back",
        "every N updates, if much lies idle",
        ("layer 2 saves in the arms",),
        ("clean-up",),
    ),
    Layer(
        "record",
        "allocated, reserved, process and device bytes are written down",
        "every change of phase",
        ("cost of watching memory",),
        ("record",),
    ),
    Layer(
        "thresholds",
        "warn, then trajectory to the host, fewer directions, shorter horizon, then an emergency checkpoint",
        "bytes in use, or their share of the device",
        (),
        ("degrade", "emergency"),
    ),
    Layer(
        "recovery",
        "the error is caught, memory is freed, and the step repeated from the last good state",
        "an allocation fails",
        (),
        ("out-of-memory", "out-of-memory-real"),
    ),
)
OPTIONS = ("accumulation", "bf16-trajectory", "bf16-predict", "optimizer-offload")


def build(evidence: Evidence, links: Links) -> Page:
    """The report's content."""
    found, estimated = validations(evidence), evidence.newest(ESTIMATES)
    judged = [_verdict(layer, found) for layer in LAYERS]
    return Page(
        name=NAME,
        title="VRAM management: five layers",
        question="What does each memory layer do, save and cost?",
        summary=[
            f"Layer {_numeral(place)}, {layer.name}: {layer.mechanism}; {verdict.word}{_linked(verdict, links)}."
            for place, (layer, verdict) in enumerate(zip(LAYERS, judged, strict=True))
        ],
        verdicts=judged,
        reads=(MEMORY, ESTIMATES),
        sources=[*(one.source for one in found), *([] if estimated is None else [estimated])],
        missing=[*_missing(found), *([absent(ESTIMATES)] if estimated is None else [])],
        values={
            "tally": counted(judged),
            "table": _layer_table(found, links),
            "drills": [_drill_table(one, links) for one in found if one.stored["drills"]],
            "options": [text for one in found if (text := _option_table(one, links))],
            "estimates": None if estimated is None else estimates.section(estimated, links),
            "claim_list": claims(NAME),
        },
    )


def _missing(found: Sequence[Validation]) -> list[Missing]:
    lacking = [] if found else [absent(MEMORY, "the effect of the five layers")]
    if not any(one.device == "cuda" for one in found):
        lacking.append(
            Missing("the five layers on a GPU", "hpt validate-vram --model gpt2 --device cuda --out runs/vram-cuda")
        )
    lacking.append(
        Missing(
            "what fits into devices of several sizes", "hpt validate-vram --model gpt2-xl --estimate --budget-gb 16"
        )
    )
    return lacking


def _numeral(place: int) -> str:
    return ("one", "two", "three", "four", "five")[place]


def _linked(verdict: VerdictRow, links: Links) -> str:
    return f" ({links.every(verdict.sources)})" if verdict.sources else ""


def _grounds(layer: Layer, found: Sequence[Validation]) -> list[tuple[Validation, Mapping[str, Any]]]:
    """Checks of the validations that are about this layer."""
    wanted = {*layer.checks, *(f"drill: {name}" for name in layer.drills)}
    return [(one, check) for one in found for check in one.stored["checks"] if check["name"] in wanted]


def _verdict(layer: Layer, found: Sequence[Validation]) -> VerdictRow:
    grounds = _grounds(layer, found)
    words = {WORDS.get(str(check["verdict"]), NOT_MEASURED) for _, check in grounds} - {REPORTED}
    word = NOT_MEASURED if not words else REACHED if words == {REACHED} else sorted(words - {REACHED})[0]
    return VerdictRow(
        what=f"layer {layer.name}",
        threshold="its checks and drills pass",
        measured=f"{sum(check['verdict'] == 'passed' for _, check in grounds)} of {len(grounds)} passed"
        if grounds
        else NOT_MEASURED,
        word=word,
        sources=tuple(dict.fromkeys(one.source for one, _ in grounds)),
    )


def _layer_table(found: Sequence[Validation], links: Links) -> str:
    rows: list[dict[str, str]] = []
    for layer in LAYERS:
        grounds = _grounds(layer, found)
        drills = [one.stored["drills"][name] for one in found for name in layer.drills if name in one.stored["drills"]]
        costs = [cost for drill in drills if (cost := drill.get("cost_s")) is not None]
        effects = dict.fromkeys(harmless(check["evidence"]) for _, check in grounds)
        rows.append(
            {
                "layer": layer.name,
                "mechanism": layer.mechanism,
                "trigger": layer.trigger,
                "measured effect": "; ".join(effects) or NOT_MEASURED,
                "cost in the drill": ", ".join(seconds(abs(cost)) for cost in costs) or NOT_MEASURED,
                "source": links.every([one.source for one, _ in grounds]) or "-",
            }
        )
    return table(rows)


def _drill_table(one: Validation, links: Links) -> dict[str, str]:
    rows = [
        {
            "drill": harmless(name),
            "model": harmless(drill.get("model", "-")),
            "outcome": "passed" if drill.get("passed") else "failed",
            "saved": num_bytes(drill["saved_bytes"]) if drill.get("saved_bytes") is not None else "-",
            "what happened": harmless(drill.get("evidence") or drill.get("failed") or "-"),
        }
        for name, drill in one.stored["drills"].items()
        if name not in OPTIONS
    ]
    return {"title": f"{harmless(one.model)} on {one.where}", "table": table(rows, links.to(one.source))}


def _option_table(one: Validation, links: Links) -> str:
    rows = [
        {
            "option": harmless(name),
            "same result": "passed" if one.stored["drills"][name].get("passed") else "failed",
            "saved": num_bytes(one.stored["drills"][name].get("saved_bytes")),
            "what happened": harmless(one.stored["drills"][name].get("evidence") or "-"),
        }
        for name in OPTIONS
        if name in one.stored["drills"]
    ]
    return table(rows, links.to(one.source))
