"""How states, arguments and results are said in a journal, and read back.

By msgspec, which is imported when a journal is used.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from types import ModuleType
from typing import Any, Protocol, cast

from ._annotations import UNKNOWN, bound, list_of, name_of
from ._errors import JournalError
from ._journal import Encoded


class Codec(Protocol):
    """Python's objects as what a record holds, and back."""

    def encode(self, value: object, what: str, /) -> Encoded:
        """What stands for it.

        Raises:
            TypeError: They can't be said, or not so that they could be read back. The
                message says where in the value.
        """
        ...

    def decode(self, encoded: Encoded, what: str, kind: object, /) -> object:
        """An object of this type.

        Raises:
            JournalError: It isn't one. The message says where in it.
        """
        ...

    def decode_all(
        self, encoded: Sequence[Encoded | None], what: str, kind: object = ..., /
    ) -> Sequence[object]:
        """The same for many at once; None for None.

        Raises:
            JournalError: One of them isn't such an object.
        """
        ...

    def are_calls(
        self,
        action: Callable[..., object],
        items: Sequence[object],
        recorded: Sequence[Encoded],
        /,
    ) -> bool:
        """Is each of these what `call` makes of one item?"""
        ...

    def call(
        self, action: Callable[..., object], args: tuple[object, ...], /
    ) -> Encoded:
        """The arguments of a call, the same at each time.

        Raises:
            TypeError: They can't be said.
        """
        ...

    def check(
        self, value: object, encoded: Encoded, kind: object, what: str, /
    ) -> None:
        """Make sure that this value will be read back as it is.

        Raises:
            TypeError: It won't be.
        """
        ...


class JSON:
    """By msgspec. Paths become strings, of which only a type makes paths again."""

    def __reduce__(self) -> tuple[object, ...]:
        return _json, ()

    def __init__(self) -> None:
        msgspec = _msgspec()
        self._msgspec: Any = msgspec
        self._encode: Callable[[object], bytes] = msgspec.json.Encoder(
            enc_hook=_said
        ).encode
        # The same for equal sets and dicts.
        self._sorted: Callable[[object], bytes] = msgspec.json.Encoder(
            enc_hook=_said, order="deterministic"
        ).encode
        self._decoder = functools.cache(self._new_decoder)

    def encode(self, value: object, what: str, /) -> str:
        try:
            encoded: str = self._encode(value).decode()
        except Exception as error:
            raise self._fault(value, what) from error
        # What is no number is null for msgspec.
        if "null" in encoded and any(_is_no_number(leaf) for _, leaf in leaves(value)):
            raise self._fault(value, what)
        return encoded

    def _fault(self, value: object, what: str) -> TypeError:
        """The error for the first thing in it that can't be said."""
        try:
            return self._fault_in(value, what)
        except RecursionError:
            return TypeError(
                f"{what} can't be recorded: it holds itself, or is too deep"
            )

    def _fault_in(self, value: object, what: str) -> TypeError:
        for path, leaf in leaves(value):
            try:
                self._encode({leaf.key: 0} if isinstance(leaf, Key) else leaf)
            except Exception as error:
                said = "" if isinstance(error, NotImplementedError) else f" ({error})"
            else:
                if not _is_no_number(leaf):
                    continue
                said = ""
            kind = type(leaf.key if isinstance(leaf, Key) else leaf).__qualname__
            return TypeError(
                f"{what} can't be recorded: {path} is {reprlib.repr(leaf)}, a {kind}, "
                f"which JSON can't say{said}: give what it can, such as a dataclass, or "
                f"start_majordomo(journaling=Journaling(pickle=True))"
            )
        return TypeError(
            f"{what} can't be recorded: JSON can't say {reprlib.repr(value)}"
        )

    def decode(self, encoded: Encoded, what: str, kind: object, /) -> object:
        if isinstance(encoded, bytes):
            raise JournalError(
                f"{what} was recorded as a pickle: to read it, if the file is yours, give "
                f"start_majordomo(journaling=Journaling(pickle=True))"
            )
        try:
            found = self.decoder(kind).decode(encoded)
            if kind is not UNKNOWN:
                self._check_all_is_there(found, encoded)
        except Exception as error:
            raise JournalError(
                f"{what} is recorded as {_shortened(encoded)}, which is no longer "
                f"{_named(kind)}: {error}: change the type back, give another id=, or "
                f"start such tasks anew with start_majordomo(journaling="
                f"Journaling(afresh=True))"
            ) from error
        return found

    def decode_all(
        self, encoded: Sequence[Encoded | None], what: str, kind: object = UNKNOWN, /
    ) -> Sequence[object]:
        texts = ["null" if each is None else str(each) for each in encoded]
        return cast(
            "list[object]", self.decode(f"[{','.join(texts)}]", what, list_of(kind))
        )

    def _check_all_is_there(self, found: object, encoded: str) -> None:
        """A class that has no place for a field would lose it without a word.

        Raises:
            ValueError: One is lost.
        """
        again = self._encode(found).decode()
        if again != encoded:
            plain = self.decoder(UNKNOWN)
            lost = _lost(plain.decode(encoded), plain.decode(again))
            if lost is not None:
                raise ValueError(f"there is no field for `{lost}` any more")

    def decoder(self, kind: object) -> Any:
        """What decodes to this type.

        Raises:
            TypeError: msgspec has none for it.
        """
        try:
            return self._decoder(kind)
        except TypeError:  # it may be unhashable
            return self._new_decoder(kind)

    def _new_decoder(self, kind: object) -> Any:
        decoder = self._msgspec.json.Decoder
        if kind is UNKNOWN:
            return decoder()
        return decoder(kind, dec_hook=_meant)

    def are_calls(
        self,
        action: Callable[..., object],
        items: Sequence[object],
        recorded: Sequence[Encoded],
        /,
    ) -> bool:
        if isinstance(action, functools.partial):
            call = functools.partial(self.call, cast("Callable[..., object]", action))
            return [call((item,)) for item in items] == [*recorded]
        try:
            given = self._sorted(list(zip(items, strict=True))).decode()
        except Exception:  # which each of them says by itself
            return False
        return given == f"[{','.join(cast('Sequence[str]', recorded))}]"

    def call(
        self, action: Callable[..., object], args: tuple[object, ...], /
    ) -> Encoded:
        keywords, given = bound(action, args)
        try:
            self.encode(given, f"the arguments of {name_of(action)}")
        except TypeError as error:
            bind = "or bind it by name, with functools.partial(f, name=...)"
            raise TypeError(f"{error}, {bind}") from error
        encoded = self._sorted(given).decode()
        if not keywords:
            return encoded
        return f"{encoded} {self._sorted(_sayable(keywords, self)).decode()}"

    def check(
        self, value: object, encoded: Encoded, kind: object, what: str, /
    ) -> None:
        try:
            again = self.decoder(kind).decode(encoded)
        except Exception as error:
            raise TypeError(
                f"{what} can't be recorded: {reprlib.repr(value)} is not "
                f"{_named(kind)}, as is said of it: {error}"
            ) from error
        if _is_same(value, again):
            return
        raise TypeError(
            f"{what} can't be recorded: {reprlib.repr(value)} would come back as "
            f"{reprlib.repr(again)}: "
            + (
                "annotate the function with what it returns, in names that its module has"
                if kind is UNKNOWN
                else f"{_named(kind)}, as it is annotated, does not say enough"
            )
        )


class Pickle:
    """By pickle, whose files can run code when they are loaded."""

    def __init__(self) -> None:
        import pickle  # noqa: PLC0415 - few want it

        self._dumps, self._loads = pickle.dumps, pickle.loads

    def __reduce__(self) -> tuple[object, ...]:
        return _pickle, ()

    def encode(self, value: object, what: str, /) -> bytes:
        try:
            return self._dumps(value, 5)
        except Exception as error:
            raise TypeError(
                f"{what} can't be recorded: {reprlib.repr(value)} can't be pickled: {error}"
            ) from error

    def decode(self, encoded: Encoded, what: str, kind: object, /) -> object:
        if isinstance(encoded, str):
            return _json().decode(encoded, what, kind)
        try:
            return cast("object", self._loads(encoded))
        except Exception as error:
            raise JournalError(
                f"{what} is recorded as a pickle that can't be loaded: {error!r}: change "
                f"its class back, give another id=, or start such tasks anew with "
                f"start_majordomo(journaling=Journaling(afresh=True, pickle=True))"
            ) from error

    def decode_all(
        self, encoded: Sequence[Encoded | None], what: str, kind: object = UNKNOWN, /
    ) -> Sequence[object]:
        return [
            None if each is None else self.decode(each, what, kind) for each in encoded
        ]

    def are_calls(
        self,
        action: Callable[..., object],
        items: Sequence[object],
        recorded: Sequence[Encoded],
        /,
    ) -> bool:
        return [self.call(action, (item,)) for item in items] == [*recorded]

    def call(
        self, action: Callable[..., object], args: tuple[object, ...], /
    ) -> Encoded:
        keywords, given = bound(action, args)
        return self.encode((*given, keywords), f"the arguments of {name_of(action)}")

    def check(
        self, value: object, encoded: Encoded, kind: object, what: str, /
    ) -> None:
        """A pickle brings back what it was made of."""


def _json() -> Codec:
    return codec_for(pickled=False)


def _pickle() -> Codec:
    return codec_for(pickled=True)


@functools.cache
def codec_for(*, pickled: bool) -> Codec:
    """The one that an instance uses.

    Raises:
        ImportError: msgspec is missing.
    """
    return Pickle() if pickled else JSON()


def _msgspec() -> ModuleType:
    try:
        importlib.import_module("msgspec.json")
        return importlib.import_module("msgspec")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a journal needs msgspec: pip install 'majordomo2[journal]'",
            name=error.name,
        ) from error


def _said(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError


def _meant(kind: type, said: object) -> object:
    if isinstance(said, str) and issubclass(kind, PurePath):
        return kind(said)
    if kind is object:
        return said
    raise NotImplementedError(f"{kind.__qualname__} can't be made of JSON")


def leaves(value: object, path: str = "$") -> Iterator[tuple[str, object]]:
    """The parts of it that have no parts, each with its place, as `$.items[3].when`."""
    parts = _parts(value)
    if parts is None:
        yield path, value
        return
    for step, part in parts:
        yield from leaves(part, path + step)


def _parts(value: object) -> Iterator[tuple[str, object]] | None:
    if isinstance(value, dict):
        return _items(cast("dict[object, object]", value))
    if isinstance(value, list | tuple | set | frozenset):
        several = cast("list[object]", value)
        return ((f"[{number}]", part) for number, part in enumerate(several))
    names = _fields(type(value))
    if not names or isinstance(value, type):
        return None
    return (
        (f".{name}", getattr(value, name)) for name in names if hasattr(value, name)
    )


def _items(value: dict[object, object]) -> Iterator[tuple[str, object]]:
    for key, part in value.items():
        if isinstance(key, str):
            yield (f".{key}" if key.isidentifier() else f"[{key!r}]"), part
        else:
            yield " as a key", Key(key)
            yield f"[{key!r}]", part


class Key:
    """A key that is no string: JSON makes one of some, such as numbers."""

    def __init__(self, key: object) -> None:
        self.key = key

    def __repr__(self) -> str:
        return repr(self.key)


def _fields(kind: type[object]) -> tuple[str, ...]:
    """Of a dataclass, a msgspec.Struct, or a class of attrs."""
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return tuple(cast("dict[str, object]", fields))
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return tuple(attribute.name for attribute in attributes)
    return cast("tuple[str, ...]", getattr(kind, "__struct_fields__", ()))


def _is_no_number(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _lost(before: object, after: object, path: str = "$") -> str | None:
    """Where something is missing in what JSON has of it; None if nothing is."""
    if isinstance(before, dict) and isinstance(after, dict):
        old = cast("dict[str, object]", before)
        new = cast("dict[str, object]", after)
        for key, value in old.items():
            if key not in new:
                return f"{path}.{key}"
            lost = _lost(value, new[key], f"{path}.{key}")
            if lost is not None:
                return lost
    elif isinstance(before, list) and isinstance(after, list):
        pairs = zip(
            cast("list[object]", before), cast("list[object]", after), strict=False
        )
        for number, (value, other) in enumerate(pairs):
            lost = _lost(value, other, f"{path}[{number}]")
            if lost is not None:
                return lost
    return None


def _is_same(value: object, again: object) -> bool:
    if type(value) is type(again) and type(value).__eq__ is object.__eq__:
        return True  # which can't be told
    try:
        return bool(again == value)
    except Exception:  # of a class of the user's
        return False


def _shortened(encoded: str) -> str:
    return encoded if len(encoded) <= 200 else f"{encoded[:200]}…"


def _named(kind: object) -> str:
    return kind.__qualname__ if inspect.isclass(kind) else str(kind)


def _sayable(bound: dict[str, object], codec: JSON) -> dict[str, object]:
    """What a keyword holds that JSON can't say, such as a client, counts by its type."""
    said: dict[str, object] = {}
    for name, value in bound.items():
        try:
            codec.encode(value, name)
        except TypeError:
            said[name] = f"<{type(value).__qualname__}>"
        else:
            said[name] = value
    return said


def fitting(value: object, kind: object, what: str) -> object:
    """The value, or what it stands for if it is what JSON has of a `kind`.

    Raises:
        JournalError: It is not. The message says where in it.
    """
    if kind is UNKNOWN or type(value) not in _OF_JSON:
        return value
    msgspec: Any = _msgspec()
    try:
        converted = cast("object", msgspec.convert(value, kind, dec_hook=_meant))
    except msgspec.ValidationError as error:
        raise JournalError(
            f"{what} is {reprlib.repr(value)}, which is not {_named(kind)}: {error}"
        ) from error
    except Exception:  # no type that JSON could bring back
        return value
    return value if converted == value else converted


_OF_JSON = (dict, list, str, int, float, bool)
