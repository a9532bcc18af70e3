"""What a journal has of the items of a `map`: many at once, without a task for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from ._annotations import name_of
from ._errors import JournalError
from ._journal import Encoded, Journal, Successes
from ._recorder import Recorder
from ._task import NothingSaved, Task, make_task

# So many successes are read at once, and twice as many are kept at the most until their
# items come.
PAGE = 5000

# The arguments, how often it was started, the state, and the data.
Success = tuple[Encoded, int, object, object]


class Past:
    """The successes of an earlier run of a `map`, as the source comes to their items.

    They are read in the order in which they were recorded, which is about that of the
    source; what is not here when the source comes to it is looked up like any task.

    Args:
        recorder: Of the instance.
        action: The function of the map.
        prefix: How the ids of its items begin.
    """

    def __init__(
        self, recorder: Recorder, action: Callable[..., object], prefix: str
    ) -> None:
        self._recorder = recorder
        self._action = action
        self._name = name_of(action)
        self._prefix = prefix
        self._kind = recorder.annotated(action)
        self._known: dict[str, Success] = {}
        self._after = 0
        self._more = True
        self._usual = 1
        # What was read, and whether there is more; it belongs to the thread until taken.
        self._page: tuple[dict[str, Success], bool] | None = None
        recorder.do(self._read)

    @property
    def is_over(self) -> bool:
        """Can nothing be found here any more?"""
        return not self._known and not self._more

    @property
    def is_short(self) -> bool:
        """Should more be read first? Where they are large, a page is few."""
        return self._more and len(self._known) < self._usual

    def refill(self) -> None:
        """Take what was read meanwhile, if there is room for it."""
        if self._page is not None and self.is_short:
            self._take_page(*self._page)

    async def read_more(self) -> None:
        """Wait for the next page, and let the one after it be read meanwhile.

        Raises:
            JournalError: The journal can't be read.
        """
        if self._page is None:
            await self._recorder.until_durable()
        assert self._page is not None
        self._take_page(*self._page)

    def _take_page(self, page: dict[str, Success], more: bool) -> None:
        self._page, self._more = None, more
        self._known.update(page)
        self._usual = max(1, len(page))
        if more:
            self._recorder.do(self._read)

    def _read(self, journal: Journal) -> None:
        """Called in the thread of the journal."""
        found = journal.successes(self._prefix, self._after, PAGE)
        self._after = found.last
        page: dict[str, Success] = {}
        with suppress(JournalError):  # whose it is will be said when that is looked up
            page = self._decoded(found)
        self._page = page, bool(found.ids)

    def _decoded(self, found: Successes) -> dict[str, Success]:
        codec, what = self._recorder.codec, f"the data of {self._prefix}…"
        data = codec.decode_all(found.data, what, self._kind)
        states: Sequence[object] = found.states
        if any(found.states):
            states = codec.decode_all(found.states, what)
        made = zip(found.arguments, found.attempts, states, data, strict=True)
        known = dict(zip(found.ids, made, strict=True))
        for id, name in zip(found.ids, found.actions, strict=True):
            if name != self._name:
                del known[id]
        return known

    def found(
        self, ids: Sequence[str], items: Sequence[object]
    ) -> tuple[int, list[Task[object] | None]]:
        """How many of these items have a result, and the results; None for the others."""
        known = [self._known.pop(id, None) for id in ids]
        recorded = [success[0] for success in known if success is not None]
        given = items
        if len(recorded) < len(known):
            pairs = zip(items, known, strict=True)
            given = [item for item, success in pairs if success is not None]
        if not self._recorder.codec.are_calls(self._action, given, recorded):
            return 0, [None] * len(known)  # which of them is not, each says by itself
        return len(recorded), [
            success
            and make_task(
                id,
                "success",
                success[3],
                success[1],
                NothingSaved() if success[2] is None else success[2],
                (),
            )
            for id, success in zip(ids, known, strict=True)
        ]
