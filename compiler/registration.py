"""What is registered for the words of a family, by their classes."""

from typing import Generic, TypeVar

from compiler.errors import CompileError
from wiring.record import Word

Entry = TypeVar("Entry")


class Registry(dict[type[Word], Entry], Generic[Entry]):
    """The entry of each class; a word without its own has that of the class it comes from.

    ``family``: of the words, as messages name it; ``entry``: what each has, as "an operator"; ``error``: for a second one.
    """

    def __init__(self, family: str, entry: str, error: type[CompileError]) -> None:
        super().__init__()
        self._family, self._entry, self._error = family, entry, error

    def register(self, spec: type[Word], entry: Entry) -> None:
        """Put an entry in.

        Raises:
            CompileError: as ``error``; the class has one already.
        """
        if spec in self:
            raise self._error(f"{self._family} {spec.__name__} has {self._entry} already. Subclass the spec and register that.")
        self[spec] = entry

    def owner(self, word: Word) -> type[Word] | None:
        """The class, of a word or behind it, that has an entry."""
        return next((cls for cls in type(word).__mro__ if cls in self), None)
