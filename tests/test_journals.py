"""What each journal does by itself; the same for those of a user."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from journal_actions import KINDS
from majordomo2.abc import Journal, Record


@pytest.fixture(params=KINDS)
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Journal]:
    made = KINDS[request.param](tmp_path)
    made.open()
    yield made
    made.close()


def record(id: str, status: str = "unspecified", data: str | None = None) -> Record:
    return Record(id, "m.f", "[1]", status, 1, None, data, 1.5)


def test_what_was_written_is_read(journal: Journal) -> None:
    """SPEC 10.1: each record as it was written last, in the order that is asked for."""
    journal.write([record("a"), record("b")])
    journal.write([record("a", "success", "3")])
    assert list(journal.read(["b", "x", "a"])) == [
        record("b"),
        None,
        record("a", "success", "3"),
    ]


def test_nothing_is_asked_for(journal: Journal) -> None:
    """SPEC 10.1: no ids, no records; no records, no change."""
    journal.write([])
    assert list(journal.read([])) == []
    assert list(journal.successes("x/", 0, 10).ids) == []


def test_an_id_that_comes_twice_in_one_batch(journal: Journal) -> None:
    """SPEC 10.1: the last of them stays."""
    journal.write([record("a"), record("a", "success", "1")])
    assert list(journal.read(["a"])) == [record("a", "success", "1")]


def test_more_than_one_statement_can_take(journal: Journal) -> None:
    """SPEC 10.1: any number of records is one batch."""
    many = [record(f"x/{number}", "success", str(number)) for number in range(2500)]
    journal.write(many)
    assert list(journal.read([each.id for each in many])) == many


def test_successes_come_in_pages(journal: Journal) -> None:
    """SPEC 10.1: in the order in which they were first written, and no others."""
    journal.write([record(f"x/{n}") for n in range(7)])
    journal.write([record("x2/0", "success", "0"), record("x", "success", "0")])
    journal.write([record(f"x/{n}", "success", str(n)) for n in (5, 1, 3, 2, 6)])
    first = journal.successes("x/", 0, 3)
    assert list(first.ids) == ["x/1", "x/2", "x/3"]
    assert list(first.data) == ["1", "2", "3"]
    assert list(first.actions) == ["m.f"] * 3
    assert list(first.arguments) == ["[1]"] * 3
    assert list(first.attempts) == [1] * 3
    assert list(first.states) == [None] * 3
    second = journal.successes("x/", first.last, 3)
    assert list(second.ids) == ["x/5", "x/6"]
    assert list(journal.successes("x/", second.last, 3).ids) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_outlives_the_block(kind: str, tmp_path: Path) -> None:
    """SPEC 10.1: it is there when the journal is opened again."""
    made = KINDS[kind](tmp_path)
    made.open()
    made.write([record("a", "success", "1")])
    made.close()
    made.open()
    assert list(made.read(["a"])) == [record("a", "success", "1")]
    made.close()


# Lone surrogates are no text that a file could hold.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
records = st.builds(
    Record,
    id=st.sampled_from(["a", "b", "x/0", "x/1"]),
    action=st.just("m.f"),
    arguments=texts | st.binary(),
    status=st.sampled_from(["unspecified", "success", "failure"]),
    attempts=st.integers(0, 2**40),
    state=st.none() | texts | st.binary(),
    data=st.none() | texts | st.binary(),
    pinged=st.floats(0, 1e10),
)


@pytest.mark.parametrize("kind", KINDS)
@given(batches=st.lists(st.lists(records, max_size=5), max_size=5))
def test_a_journal_is_a_dict(kind: str, batches: list[list[Record]]) -> None:
    """SPEC 10.1: whatever is written in whatever batches, the last of each id is read.

    The action and the arguments of an id never change, so the first ones may stay.
    """
    model: dict[str, Record] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(KINDS[kind](Path(folder))) as made,
    ):
        made.open()
        for batch in batches:
            fixed = [
                each._replace(arguments=model.get(each.id, first[each.id]).arguments)
                for first in [{each.id: each for each in reversed(batch)}]
                for each in batch
            ]
            made.write(fixed)
            model.update((each.id, each) for each in fixed)
        ids = ["a", "b", "x/0", "x/1"]
        assert list(made.read(ids)) == [model.get(id) for id in ids]
