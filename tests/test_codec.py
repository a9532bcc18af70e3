"""How a journal says what it is given, and reads it back."""

from __future__ import annotations

import errno
import fcntl
import functools
import math
import pickle
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

import majordomo2.journals._lock as lock_module
from journal_actions import Progress
from majordomo2 import JournalError, job
from majordomo2._annotations import UNKNOWN, annotated, name_of, type_after
from majordomo2._codec import JSON, Codec, codec_for, fitting
from majordomo2._job import work_of
from majordomo2.journals import SQLiteJournal
from support import untyped

lock: Any = lock_module
CODECS = [codec_for(pickled=False), codec_for(pickled=True)]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("codec", CODECS)
@given(value=plain)
def test_plain_values_come_back(codec: Codec, value: object) -> None:
    """SPEC 10.4: whatever JSON has, as it was, alone and among others."""
    encoded = codec.encode(value, "it")
    codec.check(value, encoded, UNKNOWN, "it")
    assert codec.decode(encoded, "it", UNKNOWN) == value
    assert codec.decode_all([encoded, None, encoded], "them") == [value, None, value]


@given(value=plain, other=plain)
def test_the_same_call_is_said_the_same(value: object, other: object) -> None:
    """SPEC 10.2: equal calls are equal, and others are not."""
    codec = JSON()
    calls = [codec.call(print, (each,)) for each in (value, other)]
    assert codec.are_calls(print, [value, other], calls)
    assert codec.are_calls(print, [other, value], calls) == (calls[0] == calls[1])
    assert not codec.are_calls(print, [value], calls)


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_goes_to_another_process(codec: Codec) -> None:
    """SPEC 9.3: where it is the same one."""
    assert pickle.loads(pickle.dumps(codec)) is codec  # noqa: S301 - our own


def by_name(x: int, *, client: object = None, limit: int = 0) -> None:
    """It is called with keywords."""


class Client:
    """JSON can't say it."""


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_partial_binds_is_part_of_the_call(codec: Codec) -> None:
    """SPEC 10.2: what JSON can't say counts by its type alone."""
    one, two = (functools.partial(by_name, limit=limit) for limit in (1, 2))
    assert codec.call(one, (1,)) != codec.call(two, (1,))
    assert codec.call(one, (1,)) == codec.call(functools.partial(one), (1,))
    assert codec.are_calls(one, [1, 2], [codec.call(one, (n,)) for n in (1, 2)])
    assert not codec.are_calls(one, [1], [codec.call(two, (1,))])
    assert name_of(functools.partial(one)) == f"{__name__}.by_name"


def test_a_client_counts_by_its_type() -> None:
    """SPEC 10.2: given by name, it is no obstacle; given by place, the error says so."""
    codec = JSON()
    calls = [
        codec.call(functools.partial(by_name, client=Client()), (1,)) for _ in range(2)
    ]
    assert calls[0] == calls[1]
    with pytest.raises(TypeError, match=r"bind it by name, with functools.partial"):
        codec.call(by_name, (Client(),))
    assert not codec.are_calls(by_name, [Client()], ["[1]"])


@attrs.define
class Attrs:
    """A class of attrs."""

    items: list[object]


@pytest.mark.parametrize(
    "value", [Attrs([1, math.nan]), {"a": Attrs([None, math.inf])}, [[math.nan]]]
)
def test_what_is_no_number_is_found(value: object) -> None:
    """SPEC 10.4: msgspec would say null."""
    with pytest.raises(TypeError, match=r"can't be recorded: \$.*\[\d\] is (nan|inf)"):
        JSON().encode(value, "it")


def test_one_that_no_walk_finds() -> None:
    """SPEC 10.4: an error all the same."""
    codec = JSON()
    with pytest.raises(TypeError, match="it can't be recorded: JSON can't say"):
        codec.encode(Strange(), "it")


class Strange(dict[str, object]):
    """It shows less than it holds."""

    def __init__(self) -> None:
        super().__init__(a=Client())

    def items(self) -> Any:
        return dict[str, object]().items()


def test_pickles_that_fail() -> None:
    """SPEC 10.4: clear errors, with what to do."""
    codec = codec_for(pickled=True)
    with pytest.raises(TypeError, match=r"it can't be recorded: <function .* pickled"):
        codec.encode(lambda: None, "it")
    with pytest.raises(JournalError, match=r"it is recorded as a pickle that can't be"):
        codec.decode(b"no pickle", "it", UNKNOWN)
    assert codec.decode('{"done":1}', "it", Progress) == Progress(1)


@dataclass
class Outer:
    """It holds others."""

    parts: list[Progress]


def test_a_field_that_is_gone_from_a_part() -> None:
    """SPEC 10.2: it is found however deep; one that is new is none."""
    codec = JSON()
    gone = '{"parts":[{"done":1},{"done":2,"left":3}]}'
    with pytest.raises(JournalError, match=r"no field for `\$\.parts\[1\]\.left` any"):
        codec.decode(gone, "it", Outer)
    with pytest.raises(JournalError, match=r"no field for `\$\[0\]\.parts\[1\]\.left`"):
        codec.decode_all([gone], "it", Outer)
    assert codec.decode('{"parts": [ {"done": 1} ]}', "it", Outer) == Outer(
        [Progress(1)]
    )


def test_a_type_that_has_no_hash() -> None:
    """SPEC 10.4: annotations may hold anything."""
    kind = Annotated[int, msgspec.Meta(ge=0), []]
    assert JSON().decode("3", "it", kind) == 3


def test_a_state_that_has_no_such_type() -> None:
    """SPEC 4.12: what never was in a journal stays as it is."""
    assert fitting([Client], list[Callable[[], None]], "it") == [Client]
    assert fitting({"done": 1}, Progress, "it") == Progress(1)
    with pytest.raises(
        JournalError, match=r"it is \{'done': 'x'\}, which is not Progress"
    ):
        fitting({"done": "x"}, Progress, "it")


def numbers() -> list[int]:
    return []


def pairs() -> tuple[int, str]:
    return 1, ""


def maybe() -> list[int] | None:
    return None


def later() -> Awaitable[int]:
    raise NotImplementedError


def lost() -> None:
    """Its annotation can't be resolved."""


lost.__annotations__["return"] = "NotThere"


class Callee:
    """An object that can be called."""

    field: str = ""

    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("work", "kind"),
    cast(
        "list[tuple[object, object]]",
        [
            (job(numbers), list[int]),
            (job(numbers).filter(bool), list[int]),
            (job(numbers).sort().post(str), UNKNOWN),
            (untyped(job(numbers)).flatten_nested_tasks(), UNKNOWN),
            (untyped(job)(pairs).filter(bool), list),
            (untyped(job)(maybe).sort(), list),
            (job(later), int),
            (untyped(job)(lost), UNKNOWN),
            (job(Callee()), int),
            (job(functools.partial(numbers)), list[int]),
        ],
    ),
)
def test_the_type_of_the_data(work: object, kind: object) -> None:
    """SPEC 10.4: as annotations say it, and no more than they say."""
    described = work_of(untyped(work))
    found = type_after(annotated(described.action), described.stages)
    assert found == (UNKNOWN if kind is list else kind)
    assert repr(UNKNOWN) == "an unknown type"


def test_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 10.1: it says what to install."""
    monkeypatch.setitem(sys.modules, "msgspec.json", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install 'majordomo2\[journal\]'"
    ):
        JSON()


def test_a_system_without_locks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SPEC 10.5: such as some network's files; nothing hangs."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(JournalError, match="no locks available"):
        SQLiteJournal(tmp_path / "work.db").open()


def test_another_order_of_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 10.5: the systems that descend from BSD say who has a lock in their own way."""

    def answer(_file: int, _asked: int, packed: bytes) -> bytes:
        assert len(packed) == 24
        said: bytes = lock._BSD.pack(0, 0, 4711, fcntl.F_WRLCK, 0)
        return said

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "fcntl", answer)
    assert lock._holder(0) == 4711
