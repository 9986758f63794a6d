"""What is registered for the words of a family, by their classes."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from compiler.errors import CompileError
from wiring.record import Word

Entry = TypeVar("Entry")


class Registry(dict[type[Word], Entry], Generic[Entry]):
    """The entry of each class; a word without its own has that of the class it comes from.

    ``family``: of the words, as messages name it; ``entry``: what each has, as "operator"; ``by``: the decorators that register one;
    ``error``: for a second one, and for none.
    """

    def __init__(self, family: str, entry: str, by: Sequence[str], error: type[CompileError]) -> None:
        super().__init__()
        self._family, self._entry, self._by, self._error = family, entry, by, error

    def registering(self, spec: type[Word]) -> Callable[[Entry], Entry]:
        """A decorator that puts in what it is put on.

        Raises:
            CompileError: as ``error``; the class has an entry already.
        """

        def decorator(entry: Entry) -> Entry:
            self.register(spec, entry)
            return entry

        return decorator

    def register(self, spec: type[Word], entry: Entry) -> None:
        """Put an entry in.

        Raises:
            CompileError: as ``error``; the class has one already.
        """
        if spec in self:
            raise self._error(f"{self._family} {spec.__name__} has {_a(self._entry)} already. Subclass the spec and register that.")
        self[spec] = entry

    def owner(self, word: Word) -> type[Word] | None:
        """The class, of a word or behind it, that has an entry."""
        return next((cls for cls in type(word).__mro__ if cls in self), None)

    def find(self, word: Word) -> Entry:
        """What a word's class has, or the class that it comes from.

        Raises:
            CompileError: as ``error``; neither has an entry.
        """
        owner = self.owner(word)
        if owner is None:
            name = type(word).__name__
            ways = " or ".join(f"@{way}({name})" for way in self._by)
            raise self._error(f"{self._family} {name} has no {self._entry}. Register one with {ways}.")
        return self[owner]


def _a(entry: str) -> str:
    return f"{'an' if entry[0] in 'aeiou' else 'a'} {entry}"
