"""What a page is made of: links to where numbers come from, verdicts, and what was not measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpt_reports.evidence import Source
from hpt_reports.formatting import NOT_MEASURED, code, fenced, harmless, table
from hpt_reports.kind import Kind

REACHED, MISSED, REPORTED, INCONCLUSIVE = "reached", "missed", "reported", "inconclusive"


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page's links lead, seen from the page; each is an address, so spaces and their like are encoded.

    Attributes:
        runs: prefix of the folder of runs, e.g. "../evidence/".
        pages: prefix of the folder of reports, e.g. "".
        lists: prefix of the folder of claims.toml and targets.toml.
        beliefs: prefix of the folder of prior.json.
    """

    runs: str
    pages: str = ""
    lists: str = ""
    beliefs: str = ""

    def to(self, source: Source | None) -> str:
        """A link to a measurement; "" for none."""
        return "" if source is None else f"[{source.label}]({self.runs}{source.address})"

    def every(self, sources: Sequence[Source]) -> str:
        """Links to several, each once."""
        return ", ".join(dict.fromkeys(self.to(one) for one in sources))

    @property
    def target(self) -> str:
        """Link to the list of targets."""
        return f"[target]({self.lists}targets.toml)"

    @property
    def claim(self) -> str:
        """Link to the list of the original's claims."""
        return f"[claim]({self.lists}claims.toml)"

    @property
    def prior(self) -> str:
        """Link to what is believed of jumps beforehand."""
        return f"[prior]({self.beliefs}prior.json)"

    def page(self, name: str, text: str) -> str:
        """Link to a report."""
        return f"[{text}]({self.pages}{name}.md)"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One finding.

    Attributes:
        what: was judged.
        threshold: in words.
        measured: the number, in words.
        word: reached, missed, reported, inconclusive or not measured.
        sources: that it rests on.
    """

    what: str
    threshold: str
    measured: str
    word: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was not measured, and the command that would."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: its data, how it is drawn, and what a reader who cannot see it should know.

    Attributes:
        name: of its files.
        title: above the figure's number.
        alt: what it shows, in words.
        csv: its data.
        draw: makes the drawing, SVG.
        sources: of the data.
    """

    name: str
    title: str
    alt: str
    csv: str
    draw: Callable[[], bytes]
    sources: tuple[Source, ...]


@dataclass(slots=True)
class Page:
    """One report before it is text.

    Attributes:
        name: of the file, without suffix.
        title: heading.
        question: that it answers.
        summary: five lines.
        verdicts: findings.
        reads: kinds of measurement that it is about.
        sources: all measurements it rests on.
        missing: what was not measured.
        figures: by name.
        opening: name of the figure that is shown first; "" for none.
        values: everything else the template needs.
    """

    name: str
    title: str
    question: str
    summary: list[str]
    verdicts: list[VerdictRow]
    reads: tuple[Kind, ...]
    sources: list[Source]
    missing: list[Missing]
    figures: dict[str, Figure] = field(default_factory=dict[str, Figure])
    opening: str = ""
    values: dict[str, Any] = field(default_factory=dict[str, Any])


def verdict_table(verdicts: Sequence[VerdictRow], links: Links, what: str = "check", must: str = "threshold") -> str:
    """Verdicts as a table; `what` and `must` are the names of its first columns."""
    return table(
        [
            {
                what: one.what,
                must: one.threshold,
                "measured": one.measured,
                "verdict": f"**{one.word}**",
                "source" if what == "check" else "evidence": links.every(one.sources) or links.target,
            }
            for one in verdicts
        ]
    )


def source_table(sources: Sequence[Source], links: Links) -> str:
    """On which machine, commit and day each measurement was made."""
    return table(
        [
            {
                "source": links.to(one),
                "what": one.kind.title,
                "machine": harmless(one.provenance.where),
                "versions": harmless(one.provenance.versions),
                "commit": code(one.provenance.code),
                "day": one.provenance.day,
                "SHA-256": code(one.digest),
            }
            for one in dict.fromkeys(sources)
        ]
    )


def again(sources: Sequence[Source], missing: Sequence[Missing]) -> str:
    """Commands that make these measurements, or those that are missing."""
    commands = [one.provenance.command for one in sources] or [one.command for one in missing]
    return fenced("\n".join(dict.fromkeys(" ".join(one.split()) for one in commands)))


def counted(verdicts: Sequence[VerdictRow]) -> str:
    """How many of each word, in the order of good news first."""
    words = (REACHED, MISSED, INCONCLUSIVE, REPORTED, NOT_MEASURED)
    counts: Mapping[str, int] = {word: sum(one.word == word for one in verdicts) for word in words}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no checks"


def absent(kind: Kind, what: str = "") -> Missing:
    """A kind of which nothing is stored."""
    return Missing(what or kind.title, kind.command)
