"""Logs of requests, taken out of native memory as arrays of numbers."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.compiled import layout
from iosim.compiled.image import Image
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Template
from iosim.results.logs import Step, StepLog
from iosim.run import Collector

_Words = npt.NDArray[np.int64]

_Log: TypeAlias = StepLog | list[tuple[Any, ...]]

_AT_ONCE = 1 << 16
"""Entries that are looked at together, or those of one log if it has more."""
_START, _THREAD, _WHAT, _FOURTH, _FIFTH = range(1, 6)
"""Where the parts of an entry are."""


class Logs:
    """Reads the logs that the twin of a collector has, and adds up those of sampled requests.

    What an entry says but for times is a step, and has the same number in all logs: the objects that it is made of are
    kept alive in native memory for that.
    """

    def __init__(self, image: Image, collector: Collector) -> None:
        self._image = image
        self._collector = collector
        self._item = image.number_of(Item)
        self._numbers: dict[tuple[int, ...], int] = {}
        self._steps: list[Step] = []
        self._all_held = True

    def take_sampled(self) -> None:
        """Add up the logs of sampled requests that are there now, which the twin then lets go."""
        image, functions = self._image, self._collector.functions
        sampled = image.tuples(image.word_in(self._collector, "sampled"), 4).tolist()
        logs = self._read([entries for _, _, _, entries in sampled])
        for (vm, drive, op, _), log in zip(sampled, logs, strict=True):
            place = (image.decode(vm), image.decode(drive), image.decode(op))
            if isinstance(log, StepLog):
                functions.add_steps(*place, log)
            else:
                functions.add_log(*place, log)
        if not self._all_held:
            image.forget()
            functions.forget_steps()
            self._numbers, self._steps, self._all_held = {}, [], True

    def give_back(self) -> None:
        """Give the collector the logs that were kept."""
        image, collector = self._image, self._collector
        for name, width in (("slowest", 3), ("in_window", 2)):
            kept = image.tuples(image.word_in(collector, name), width).tolist()
            logs = [image.items_of(word) for *_, word in kept]
            for (*key, _), log, entries in zip(kept, logs, self._read([log[3] for log in logs]), strict=True):
                place = (*map(image.decode, key), (*map(image.decode, log[:3]), entries))
                getattr(collector, name).append(place)

    def _read(self, logs: list[int]) -> Iterator[_Log]:
        """Yield logs, of which there are the words; those in which costs are drawn by entry."""
        chunk: list[_Words] = []
        n = 0
        for items in map(self._image.items, logs):
            if chunk and n + len(items) > _AT_ONCE:
                yield from self._read_chunk(chunk)
                chunk, n = [], 0
            chunk.append(items)
            n += len(items)
        if chunk:
            yield from self._read_chunk(chunk)

    def _read_chunk(self, logs: list[_Words]) -> Iterator[_Log]:
        base, words = self._image.base, self._image.words
        at = np.concatenate(logs) - base >> 3
        sizes = words[at] >> layout.SIZE_SHIFT
        thread, what = words[at + _THREAD], words[at + _WHAT]
        fourth, fifth = (np.where(sizes > k, words[at + k], 0) for k in (_FOURTH, _FIFTH))
        is_wait = what & 1 == 1
        header = words[np.where(is_wait, self._image.FIRST, what - base >> 3)]
        is_timed = is_wait | (header & layout.CLASS_MASK == self._item)
        is_drawn = ~is_timed & (fourth != 0)
        starts = words[at + _START] >> 1
        ns = np.where(is_timed, (fourth >> 1) - starts, 0)
        numbers = self._numbered(thread, what, fifth)
        end = 0
        for items in logs:
            log = slice(end, end + len(items))
            end = log.stop
            if is_drawn[log].any():
                columns = (starts[log], numbers[log], np.where(is_drawn[log], fourth[log], 0), ns[log])
                yield [self._entry(*entry) for entry in zip(*[column.tolist() for column in columns], strict=True)]
            else:
                yield StepLog(self._steps, numbers[log], starts[log], ns[log])

    def _numbered(self, *columns: _Words) -> npt.NDArray[np.int32]:
        """Return the number of each step: its thread, what it is, and what more there is to say of it."""
        mixed = np.zeros(len(columns[0]), dtype=np.int64)
        for column in columns:
            code, different = pd.factorize(column)
            mixed = mixed * len(different) + code
        codes, _ = pd.factorize(mixed)
        first = np.zeros(codes.max(initial=-1) + 1, dtype=np.intp)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        numbers = []
        for step in zip(*[column[first].tolist() for column in columns], strict=True):
            number = self._numbers.get(step)
            if number is None:
                number = self._numbers[step] = len(self._steps)
                self._steps.append(self._step(*step))
                for word in step:
                    self._all_held &= self._image.hold(word)
            numbers.append(number)
        return np.array(numbers, dtype=np.int32)[codes]

    def _step(self, thread: int, what: int, more: int) -> Step:
        decode = self._image.decode
        found: Any = decode(what)
        return Step(decode(thread), Stage(found) if isinstance(found, int) else found, decode(more))

    def _entry(self, start: int, number: int, drawn: int, ns: int) -> tuple[Any, ...]:
        """Return an entry as `iosim.host.thread` and `iosim.model.records` write it."""
        thread, what, more = self._steps[number]
        if isinstance(what, Item | Stage):
            return start, thread, what, start + ns, more
        costs = self._image.integers(drawn) if drawn else None
        if isinstance(what, Template):
            return start, thread, what, None if costs is None else costs.reshape(-1, len(what.variable)), more
        if costs is None:
            return start, thread, what
        return start, thread, what, costs.tolist() if isinstance(what, Path) else costs
