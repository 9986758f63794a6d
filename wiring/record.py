"""What every word of the language is made of: frozen records that refuse what they do not know, found again by their kind."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wiring.errors import WiringError
from wiring.plugins import load_plugins

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class InvalidWiring(WiringError, ValueError):
    """A record says something that cannot be."""


def same_definition(one: Any, other: Any) -> bool:
    """Whether two classes or functions come from the same lines, as where a notebook's cell is run again."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def describe(error: ValidationError) -> str:
    """A pydantic error as sentences: where in the record, and why."""
    found = error.errors()
    inner = [e for e in found if e["type"] != "too_short"]  # a list whose items are wrong counts as empty, too
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'record'}: {e['msg'].removeprefix('Value error, ')}" for e in inner or found
    )


class Record(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InvalidWiring(f"{type(self).__name__}: {describe(error)}") from error


class Word(Record):
    """A record that stands for one choice of a family; its ``kind`` finds the class again when JSON is read.

    A family is a direct subclass of ``Word``; its words are the family's own subclasses, also those of other packages: each has a
    kind of its own, declared as ``kind: Literal["mine"] = "mine"``.

    Raises:
        InvalidWiring: a word without a kind of its own.
    """

    kind: str
    _words: ClassVar[dict[str, type["Word"]]]

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if Word in cls.__bases__:
            cls._words = {}
            return
        kind, own = cls.model_fields["kind"].default, f'kind: Literal["{cls.__name__.lower()}"] = "{cls.__name__.lower()}"'
        if not isinstance(kind, str) or "kind" not in cls.__annotations__:
            raise InvalidWiring(f"The word {cls.__name__} has no kind of its own, by which JSON would find it. Declare {own}.")
        known = cls._words.get(kind)
        if known is not None and not same_definition(known, cls):
            raise InvalidWiring(
                f"The word {cls.__module__}.{cls.__qualname__} has the kind {kind!r}, which is that of {known.__module__}.{known.__qualname__}. "
                "Give it another."
            )
        cls._words[kind] = cls

    @model_validator(mode="wrap")
    @classmethod
    def _by_kind(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        if Word in cls.__bases__ and isinstance(data, str):  # a bare kind: the word with what it has by default
            data = {"kind": data}
        if Word in cls.__bases__ and isinstance(data, Mapping):
            return cls.word(data.get("kind")).model_validate(data)
        if Word in cls.__bases__ and not isinstance(data, cls):
            raise ValueError(f"{data!r} is no {cls.__name__.lower()}. Use one of: {', '.join(sorted(cls.words()))}.")
        return handler(data)

    @classmethod
    def family(cls) -> type["Word"]:
        """The family that a word belongs to."""
        return next(base for base in cls.__mro__ if Word in base.__bases__)

    @classmethod
    def words(cls) -> dict[str, type[Self]]:
        """Every word of this family by its kind, as far as the modules that declare them are imported."""
        return {kind: word for kind, word in cls._words.items() if issubclass(word, cls)}

    @classmethod
    def word(cls, kind: object) -> type[Self]:
        """The class of a kind; installed plug-ins are loaded before one is unknown."""
        if not isinstance(kind, str):
            raise ValueError(f"{kind!r} is no kind of {cls.__name__.lower()}. Use one of: {', '.join(sorted(cls.words()))}.")
        failed = () if kind in cls.words() else load_plugins()
        words = cls.words()
        if kind not in words:
            known = ", ".join(sorted(words))
            raise ValueError(" ".join((f"unknown {cls.__name__.lower()} {kind!r}. Known: {known}.", *failed)))
        return words[kind]
