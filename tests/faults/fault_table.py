"""The table of faults in docs/reliability.md: what was done where, and what was seen in a run of all of them."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: scripts/test.sh --faults -->", "<!-- end of faults -->"
HEAD = "| fault | where injected | what was seen |\n|---|---|---|\n"


class FaultTable:
    """Rows by fault and place: each is written to the page at once, so that a run that is ended loses none.

    `page`: None in runs without --faults, which see a part.
    """

    def __init__(self, page: Path | None) -> None:
        self._page = page

    def add(self, fault: str, where: str, seen: str) -> None:
        """Put what was seen in the place of the row of an earlier run, or at the end."""
        if self._page is None:
            return
        text = self._page.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        old, after = rest.split(END)
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in old.strip().splitlines()[2:]]
        rows = {(fault, where): seen for fault, where, seen in cells} | {(fault, where): seen}
        lines = "".join(f"| {fault} | {where} | {seen} |\n" for (fault, where), seen in rows.items())
        self._page.write_text(f"{before}{BEGIN}\n{HEAD}{lines}{END}{after}", encoding="utf-8")
