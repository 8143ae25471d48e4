"""
An open replay: it answers the calls of a block from a recording, and keeps account of them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from weakref import WeakSet

from ..answering import Answer, Question, change_next
from ..encoding.record_text import label_of as label_text
from ..encoding.typed import is_cut, is_masked
from ..enums import ObservationType, Status
from ..errors import ReplayError, ReplayMismatch
from ..forks import after_fork
from ..models import ObservationData
from ..report import warn_user
from ..tracing.node import Node
from ..tracing.propagation import strand_id
from . import canonical
from .forks import Fork
from .live import is_live, unknown_live
from .matching import Matching
from .recording import Place, is_expected, label_of
from .reports import ReplayReport
from .unmasking import Secrets, unmasked


@dataclass(eq=False)
class Session:
    """
    The state of one replay.

    Args:
        matching: Finds the answers.
        live: Names of calls, and of groups of calls, that run for real.
        pace: The share of the recorded time that answers take; None for no time.
        is_open_ended: Whether a call that was not recorded runs for real, to be recorded.
        fork: The step that is changed, and from which the run continues.
        secrets: What is put back into answers in which it was masked.
    """

    matching: Matching
    live: Collection[str] = ()
    pace: float | None = None
    is_open_ended: bool = False
    fork: Fork | None = None
    secrets: Secrets = field(default_factory=dict)
    hits: int = 0
    ran_live: int = 0
    misses: list[ReplayMismatch] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    live_ids: set[str] = field(default_factory=set)
    _live_names: set[str] = field(default_factory=set)
    """The observations of calls that ran for real, and their names."""
    _has_live_without_key: bool = False
    """Whether a call ran for real whose observation starts later, so that calls inside it are not known by it."""
    _seen: list[tuple[Question, Place, Place]] = field(default_factory=list)
    """The calls that were answered, the recorded ones, and the recorded observations around them."""
    _decided: dict[tuple[str, str], Answer | None] = field(default_factory=dict)
    _strands: dict[int, tuple[int, object]] = field(default_factory=dict)
    """The thread and task of a place whose observation is a call of the program's own code."""
    _last: dict[int, Place] = field(default_factory=dict)
    """The call that was answered last under a place."""
    _lock: Any = field(default_factory=threading.RLock)

    def ask(self, question: Question) -> Answer | None:
        """See `fluxloop.answering.Answerer`."""
        with self._lock:
            if question.key is not None and question.key in self._decided:
                return None  # the same call, further inside: it runs live
            parent = self.matching.place_of(question.parent, question)
            if question.parent is not None and (owner := question.parent.owner) is not None:
                self._strands.setdefault(id(parent), owner)
            place = self.matching.find(question, parent, is_exact=self.fork is not None and self.fork.is_reached)
            if self._is_live(question) or self._runs_in_fork(question, place):
                self._run(question, place)
                return None
            if self.fork is not None and place is self.fork.at:
                return self._forked(self.fork, question)
            if place is None:
                if self.is_open_ended or self._rests("recorded"):
                    self._run(question, None)
                    return None
                raise self._miss(question, parent, None)
            is_ordered = self.matching.mode == "strict" and not self._rests("live", "recorded", "offline")
            if is_ordered and (later := self._is_late(place)) is not None:
                raise self._miss(question, parent, later)
            self._settle(question, place)
            return self._served(question, place, parent)

    def _served(self, question: Question, place: Place, parent: Place) -> Answer:
        """Return the recorded answer of *place*, and count it."""
        inside = (child.observation for child in place.children)
        events = tuple(one for one in inside if one.type is ObservationType.EVENT)
        answer = Answer(unmasked(place.observation, self.secrets), self.pace, events, self.fail)
        self._check_whole(answer)
        if question.node is not None and place.observation.name != question.name:  # it was pushed by the tool
            question.node.take_over(label_text(place.observation.type, place.observation.name), place.observation.input)
        self.hits += 1
        self._seen.append((question, place, parent))
        return answer

    def _run(self, question: Question, place: Place | None) -> None:
        """Note that the call runs for real."""
        self._settle(question, place)
        self.ran_live += 1
        self._live_names.add(question.name)
        self._note_live(question)

    def unknown_live(self) -> str | None:
        """Return a message about names in ``live`` that no call has, neither a recorded one nor one that was made."""
        return unknown_live(self.live, self.matching.root.walk(), self._live_names)

    def _note_live(self, question: Question) -> None:
        if question.key is not None:
            self.live_ids.add(question.key[1])
        else:
            self._has_live_without_key = True

    def _rests(self, *choices: str) -> bool:
        """Whether the call comes after a fork whose later calls are answered in one of these ways."""
        return self.fork is not None and self.fork.is_reached and self.fork.rest in choices

    def _runs_in_fork(self, question: Question, place: Place | None) -> bool:
        """Whether a fork lets a call run: one that the fork is inside of, or one after it."""
        if self.fork is None:
            return False
        if place is not None and (self.fork.is_inside(place) or place is self.fork.at):
            return place is not self.fork.at
        return self._rests("live") and not (place is not None and self.fork.precedes(place))

    def _forked(self, fork: Fork, question: Question) -> Answer | None:
        """Change the step of the fork, and record in the trace which recording it is a fork of."""
        fork.is_reached = True
        origin = fork.origin()
        if (node := question.node or question.parent) is not None:
            node.trace.metadata["forked_from"] = origin
        if question.node is not None:
            question.node.add_metadata(fork={"of": origin["observation_id"], "changed": origin["changed"]})
        self._settle(question, fork.at)
        if fork.changed == "output":
            self.hits += 1
            return fork.answer(question)
        self.ran_live += 1
        self._note_live(question)
        if fork.change is not None:
            if fork.change.has_input and question.node is not None and question.input is not None:
                question.node.set_input(fork.changed_input(question.input))
            change_next(fork.change)
        return None

    def knows(self, observation_type: ObservationType, name: str) -> bool:
        """See `fluxloop.answering.Answerer`."""
        with self._lock:
            return bool(self.matching.labelled(label_of(observation_type, name)))

    def runs_live(self, observation_type: ObservationType, name: str, node: Node | None) -> bool:
        """See `fluxloop.answering.Answerer`."""
        with self._lock:
            if self.is_open_ended or self._has_live_without_key or self._rests("live", "recorded"):
                return True
            if self._is_live(Question(observation_type, name, None, node)):
                return True
            while node is not None and (node.trace.id, node.id) not in self._decided:
                node = node.parent
            return node is not None

    def fail(self, message: str) -> ReplayMismatch:
        """See `fluxloop.answering.Answerer`."""
        error = ReplayMismatch(message)
        self.misses.append(error)
        return error

    def pair(self, node: Node) -> None:
        """Give *node*, which starts now, its place in the recorded tree."""
        with self._lock:
            place = self.matching.place_of(node)
            self._strands.setdefault(id(place), strand_id())

    def note_manual(self, observation_type: ObservationType, name: str) -> None:
        """Give an observation that the program recorded itself a place; it is made again, not answered."""
        with self._lock:
            places = self.matching.labelled(label_of(observation_type, name))
            if (place := next((one for one in places if not (one.is_asked or one.is_paired)), None)) is not None:
                place.is_paired = True

    def _is_late(self, place: Place) -> Place | None:
        """
        Return the call that was made before *place* is asked for, but was recorded after that had ended; None if none.

        Only calls that the code of their parent makes itself, in its own thread and task, have an order: branches that
        run in parallel may start in any order.
        """
        parent, strand = place.parent, strand_id()
        if parent is None or self._strands.get(id(parent)) != strand:
            return None
        before, self._last[id(parent)] = self._last.get(id(parent)), place
        if before is None or place.observation.end_time is None:
            return None
        return before if place.observation.end_time <= before.observation.start_time else None

    def _settle(self, question: Question, place: Place | None) -> None:
        if question.key is not None:
            self._decided[question.key] = None
        self.matching.started.remove(question.node)
        if place is not None:
            place.is_asked = True
            self.matching.settle(question, place)

    def _is_live(self, question: Question) -> bool:
        return is_live(self.live, question.type, question.name)

    def _check_whole(self, answer: Answer) -> None:
        """Raise if the answer is not what the recorded program received; warn if a secret in it is masked."""
        recorded, whole = answer.recorded, answer.whole
        what = f"{recorded.type.name} {recorded.name!r}"
        if "unsupported" in whole:
            raise self._unusable(f"the answer of {what} is an object of {whole['unsupported']}, which is not data")
        if recorded.status is None or recorded.status is Status.CRASHED:
            raise self._unusable(f"{what} was not recorded to its end: the program stopped while it ran")
        served = [whole[name] for name in ("value", "items") if name in whole]
        served = served or [recorded.output, answer.stream.get("items")]
        is_short = answer.is_stream and "items" not in whole and self._lacks_items(answer)
        if recorded.truncated and (any(map(is_cut, served)) or is_short):
            raise self._unusable(f"the answer of {what} was cut when it was recorded")
        if recorded.redacted and any(map(is_masked, served)):
            self.masked.append(what)
            warn_user(
                f"replay: a secret in the answer of {what} is masked, so the program receives '[redacted]'. "
                "Give it with secrets={name: secret}, see fluxloop.replay"
            )

    def __post_init__(self) -> None:
        _sessions.add(self)
        self._strands[id(self.matching.root)] = strand_id()

    @staticmethod
    def _lacks_items(answer: Answer) -> bool:
        count, items = answer.stream.get("count"), answer.stream.get("items")
        return isinstance(items, list) and isinstance(count, int) and len(items) < count

    def _unusable(self, problem: str) -> ReplayMismatch:
        return self.fail(f"{problem}. Record the run again with fluxloop.configure(replayable=True)")

    def _miss(self, question: Question, parent: Place, later: Place | None) -> ReplayMismatch:
        """Note and return the error for a call without an answer, or one that *later* was recorded after."""
        asked = f"{question.type.name} {question.name}({canonical.shown(question.input)})"
        lines = [f"no recorded answer for {asked}, called in {parent.path()}"]
        if later is not None:
            after = f"  recorded after it, and called before it: {described(later.observation)}"
            lines = [f"{asked} was called out of order, in {parent.path()}", after]
        else:
            nearest = self.matching.nearest(question, asked=True)
            if nearest is None:
                lines.append(f"  no {question.type.name} named {question.name!r} was recorded")
            else:
                state = "answered already" if nearest.is_asked else "not called yet"
                lines.append(f"  nearest recorded call ({state}), in {(nearest.parent or nearest).path()}:")
                changed = canonical.difference(nearest.observation.input, question.input)
                lines += [f"    {line}" for line in changed] or ["    the same input"]
        lines.append("  - recorded, + now. Record the run again, or see match= and live= of fluxloop.replay")
        return self.fail("\n".join(lines))

    def unused(self) -> list[ObservationData]:
        """Return the recorded calls that nothing asked for, without those inside an answered call."""
        with self._lock:
            found, pending = [], self.matching.root.children[::-1]
            while pending:
                place = pending.pop()
                is_answer = place.is_answer()
                if is_answer and place.is_asked:
                    continue
                if is_answer and not place.is_paired and is_expected(place) and not self._is_free(place):
                    found.append(place.observation)
                    continue
                pending += place.children[::-1]
            return found

    def _is_free(self, place: Place) -> bool:
        """Whether a run need not ask for *place*: such calls run for real, or it comes after a fork."""
        recorded = place.observation
        if self.fork is not None and not self.fork.precedes(place):
            return True
        return self._is_live(Question(recorded.type, recorded.name, None, None))

    def _digest(self) -> str:
        """Return a hash of all calls that were answered, and of their answers."""
        seen = []
        for question, place, parent in self._seen:
            answer = canonical.stable_key([place.observation.output, place.observation.error])
            name = f"{question.type.name} {question.name} in {parent.path()}".encode()
            seen.append((name, canonical.stable_key(question.input), answer))
        digest = sha256()
        for parts in sorted(seen):
            digest.update(b"\0".join((*parts, b"")))
        return digest.hexdigest()[:16]

    def report(self) -> ReplayReport:
        """Return the account so far."""
        unused = [described(one) for one in self.unused()]
        misses = [str(miss) for miss in self.misses]
        first = misses[0] if misses else f"not called: {unused[0]}" if unused else None
        step = self.fork.at.observation if self.fork is not None and self.fork.is_reached else None
        return ReplayReport(
            hits=self.hits,
            live=self.ran_live,
            misses=tuple(misses),
            unused=tuple(unused),
            masked=tuple(self.masked),
            first_divergence=first,
            digest=self._digest(),
            forked_at=f"{step.type.name} {step.name}" if step is not None else None,
        )


_sessions: WeakSet[Session] = WeakSet()


def _renew_locks() -> None:
    for session in list(_sessions):
        session._lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_locks)


def described(observation: ObservationData) -> str:
    """Return a recorded call as one line."""
    return f"{observation.type.name} {observation.name}({canonical.shown(observation.input)})"


def check_pace(pace: str | float | None) -> float | None:
    """
    Return *pace* as a factor.

    Raises:
        ReplayError: If it is neither ``"recorded"`` nor a number of at least zero.
    """
    if pace is None:
        return None
    if pace == "recorded":
        return 1.0
    if isinstance(pace, int | float) and not isinstance(pace, bool) and pace >= 0:
        return float(pace)
    raise ReplayError(f"pace must be None, 'recorded' or a factor of at least 0, got {pace!r:.100}")
