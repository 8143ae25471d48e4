"""
Read the scores of traces, from the files of scores in a folder.

A score may be given days after its trace, so its file is that of the day of the score. The files are read when the
scores of a trace are first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..models import Score
from ..storage.decoding import Json
from .day_index import DayIndex
from .source import open_records

_NAME = re.compile(r"scores(?:_\d{8})?\.jsonl")


class ScoreFiles:
    """Finds the scores of a trace in the files of *folder*. Called with the id of the trace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: DayIndex | None = None
        self._files = ExitStack()

    def __call__(self, trace_id: str) -> list[Score]:
        """Return the scores of the trace, by time."""
        if self._index is None:
            opened = [
                self._files.enter_context(file) for path in score_files(self.folder) if (file := open_records(path))
            ]
            self._index = DayIndex(opened)
        return scores_of(record for record, _ in self._index.records_of(trace_id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreFiles) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def __reduce__(self) -> Any:
        return ScoreFiles, (self.folder,)

    def __deepcopy__(self, memo: object) -> ScoreFiles:
        return ScoreFiles(self.folder)

    def __del__(self) -> None:
        self._files.close()


def score_files(folder: Path) -> list[Path]:
    """Return the files of scores in *folder*, by day."""
    return sorted(path for path in folder.glob("scores*.jsonl") if _NAME.fullmatch(path.name) and path.is_file())


def scores_of(records: Iterable[Json]) -> list[Score]:
    """Return the scores among *records*, by time; of several with one id, the last."""
    found: dict[str, Score] = {}
    for record in records:
        if record.get("record") == "score":
            try:
                score = Score.model_validate(record)
            except ValidationError:
                continue  # not one that this version understands
            found[score.id] = score
    return sorted(found.values(), key=lambda score: score.time)
