"""The kinds of measurement that the project's own scripts store; most of their files carry no schema number."""

from pathlib import Path
from typing import Any

from reports.kind import Document, Kind, NotEvidence
from reports.provenance import Provenance, provenance_of


class Prediction(Kind):
    """Paired runs with and without prediction."""

    name = "prediction"
    title = "paired runs with and without prediction"
    command = "python scripts/measure_prediction.py --out reports/evidence/prediction_byte_gpt.json"

    def is_in(self, document: Document) -> bool:
        """Cells of several arms."""
        return {"what", "workload", "steps", "summary", "cells"} <= set(document)

    def complete(self, file: Path, document: Document) -> dict[str, Any]:
        """As it is; the script's file has no schema.

        Raises:
            NotEvidence: its cells are not usable.
        """
        del file
        cells = document["cells"]
        if not (isinstance(cells, list) and cells and all({"arm", "seed", "final_loss"} <= set(one) for one in cells)):
            raise NotEvidence("corrupt", "its cells lack arm, seed or final_loss")
        return dict(document)

    def provenance(self, document: Document) -> Provenance:
        """Of the last cell."""
        return provenance_of(document["cells"][-1].get("environment"), self._moment(document), self.command)


class Overhead(Kind):
    """Cost of a full step over the plain loop's."""

    name = "overhead"
    title = "overhead of a full step"
    command = "python scripts/measure_overhead.py --out reports/evidence/overhead_byte_gpt.json"

    def is_in(self, document: Document) -> bool:
        """A ratio of paired blocks."""
        return {"what", "ratio", "ratio_low", "ratio_high", "plain_step_s", "blocks"} <= set(document)

    def complete(self, file: Path, document: Document) -> dict[str, Any]:
        """As it is; the script's file has no schema."""
        del file
        return dict(document)


class Wall(Kind):
    """Wall time of the documented run, in pairs."""

    name = "wall"
    title = "wall time of the documented run"
    command = "python scripts/measure_wall.py --out reports/evidence/wall_byte_gpt.json"

    def is_in(self, document: Document) -> bool:
        """Pairs of runs and their ratio."""
        return {"what", "wall_ratio", "loss_ratio", "pairs"} <= set(document)

    def complete(self, file: Path, document: Document) -> dict[str, Any]:
        """As it is; the script's file has no schema.

        Raises:
            NotEvidence: its pairs are not usable.
        """
        del file
        pairs = document["pairs"]
        if not (isinstance(pairs, list) and pairs and all({"rssm", "none"} <= set(one) for one in pairs)):
            raise NotEvidence("corrupt", "its pairs lack one of the runs")
        return dict(document)

    def provenance(self, document: Document) -> Provenance:
        """Of the last pair."""
        environment = document["pairs"][-1]["rssm"].get("environment")
        return provenance_of(environment, self._moment(document), self.command)


class Alarms(Kind):
    """False alarms of `hpt bench compare`, and a planted slowdown."""

    name = "alarms"
    title = "false alarms and a planted slowdown"
    command = "python scripts/measure_alarms.py --out runs/alarms --result reports/evidence/alarms.json"
    parts = ("bench",)

    def is_in(self, document: Document) -> bool:
        """Comparisons of the same code, and of slowed code."""
        return {"what", "same_code", "planted", "sampling"} <= set(document)


PREDICTION, OVERHEAD, WALL, ALARMS = Prediction(), Overhead(), Wall(), Alarms()
