"""Rules of ``limits.rules``: what is counted, how much of it there may be, and for whom; how they are written and read.

A rule is an amount, what it is an amount of, and perhaps words that narrow it::

    20 requests/s burst=40
    100000 tokens/day tenant=acme
    8 concurrent model=reviews
"""

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

Counted = Literal["requests", "tokens", "concurrent"]
Period = Literal["s", "day", "month"]

ANY: Final = "*"
"""Each caller, tenant or model by itself."""

_RULE: Final = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?) ([a-z]+)(?:/([a-z]+))?")
_BURST: Final = re.compile(r"[1-9][0-9]{0,9}")
_PLAIN: Final = re.compile(r"[^\s;'\"\\]+")
_COUNTED: Final = get_args(Counted)
_PERIODS: Final = get_args(Period)
_WORDS: Final = ("burst", "caller", "tenant", "model")
# What can be said in a header is at most 15 digits (RFC 9651), also of the seconds in which a burst comes back.
_MOST: Final = 10**12
_MOST_AT_ONCE: Final = 10**9
_LEAST_RATE: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A limit on what callers may use.

    Attributes:
        amount: How much within the period; of ``concurrent`` how many at once.
        period: Within which; nothing for what is counted while it runs.
        burst: How much at once, of a rate.
        caller: Whom it is for: a name, or ``*`` for each caller by itself; nothing to count all callers together.
        tenant: Whose callers it is for: a tenant, or ``*`` for each; nothing for whosever.
        model: Which model must be asked: a name, or ``*`` for each by itself; nothing for whichever.
    """

    counted: Counted
    amount: float
    period: Period | None = None
    burst: int | None = None
    caller: str | None = None
    tenant: str | None = None
    model: str | None = None

    @property
    def name(self) -> str:
        """What it is called in headers and metrics: what is counted, and what is told apart, as ``tokens-day-model``.

        Of rules with the same name, which count the same, the first holds that fits a request.
        """
        told_apart = [word for word in ("tenant", "model") if getattr(self, word)]
        if self.tenant and self.caller:  # where no tenant is named it goes without saying
            told_apart.insert(1, "caller")
        period = [] if self.period in {None, "s"} else [str(self.period)]
        return "-".join([self.counted, *period, *told_apart])

    def fits(self, caller: str, tenant: str, model: str) -> bool:
        """Tell whether it is for such a request."""
        asked = ((self.caller, caller), (self.tenant, tenant), (self.model, model))
        return all(wanted in {None, ANY, given} for wanted, given in asked)

    def covers(self, other: "Rule") -> bool:
        """Tell whether it holds wherever another one could, that comes after it."""
        mine, theirs = ((each.caller, each.tenant, each.model) for each in (self, other))
        return self.name == other.name and all(one in {None, ANY, two} for one, two in zip(mine, theirs, strict=True))

    def __str__(self) -> str:
        """Return how it is written."""
        per = f"/{self.period}" if self.period else ""
        is_plain = self.caller == ANY and self.tenant is None
        named = [
            f"{word}={_quote(str(value))}"
            for word in _WORDS
            if (value := getattr(self, word)) is not None and not (word == "caller" and is_plain)
        ]
        return " ".join([f"{self.amount:.15g} {self.counted}{per}", *named])


def read_rules(given: Any) -> tuple[Rule, ...]:
    """Read rules: a text with ``;`` between them, or a list of such texts.

    Raises:
        ValueError: One of them is none, or can never hold.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, Sequence) or not all(isinstance(text, str | Rule) for text in texts):
        raise ValueError("write rules as text, such as '20 requests/s burst=40; 8 concurrent'")
    rules: list[Rule] = []
    for text in texts:
        rules += [text] if isinstance(text, Rule) else (_read_rule(words) for words in _split(text))
    return tuple(rules)


def require_reachable(rules: Sequence[Rule]) -> None:
    """Let a list of rules pass of which each can hold.

    Raises:
        ValueError: One never does, since one before it fits whenever it does.
    """
    for index, rule in enumerate(rules):
        for earlier in rules[:index]:
            if earlier.covers(rule):
                raise ValueError(f"'{rule}' never holds, since '{earlier}' comes before it; put it first, or drop one")


def _quote(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else shlex.quote(value)


def _split(text: str) -> Iterator[list[str]]:
    """Yield the words of each rule; quotes keep spaces and semicolons in a name."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        read = [*lexer, ";"]
    except ValueError as error:
        raise ValueError("there is a quote that has no end, or a backslash there") from error
    words: list[str] = []
    for word in read:
        if word.strip(";"):
            words.append(word)
        elif words:
            yield words
            words = []


def _read_rule(words: list[str]) -> Rule:
    text = " ".join(words)
    found = _RULE.fullmatch(" ".join(words[:2]))
    if found is None:
        raise ValueError(f"{text[:200]!r} is no rule; write an amount and what it counts, such as '20 requests/s'")
    amount, counted, period = float(found[1].replace("_", "")), found[2], found[3]
    if counted not in _COUNTED:
        raise ValueError(f"{text[:200]!r} counts {counted!r}; what can be counted is {', '.join(_COUNTED)}")
    if (period is None) != (counted == "concurrent") or period not in {*_PERIODS, None}:
        raise ValueError(
            f"{text[:200]!r} has no period that it can have; requests and tokens are counted per s, day or month,"
            " and concurrent stands alone"
        )
    named = _read_named(text, words[2:])
    _require_bounds(text, amount, period, named)
    whole = period != "s"
    return Rule(
        counted=cast("Counted", counted),
        amount=int(amount) if whole else amount,
        period=cast("Period | None", period),
        burst=None if whole else int(named.get("burst") or max(1, math.ceil(amount))),
        # Whom it counts, if nothing is said, is each caller.
        caller=named.get("caller", None if "tenant" in named else ANY),
        tenant=named.get("tenant"),
        model=named.get("model"),
    )


def _read_named(text: str, words: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in _WORDS or not equals or not value or name in named:
            raise ValueError(
                f"{text[:200]!r} has {word[:80]!r}, which is none of {', '.join(f'{each}=...' for each in _WORDS)},"
                " each at most once"
            )
        named[name] = value
    return named


def _require_bounds(text: str, amount: float, period: str | None, named: Mapping[str, str]) -> None:
    if period == "s":
        least, most = _LEAST_RATE, float(_MOST_AT_ONCE)
    else:
        least, most = 1, _MOST if period else _MOST_AT_ONCE
    if not least <= amount <= most or (period != "s" and amount != int(amount)):
        kind = "a number" if period == "s" else "a whole number"
        raise ValueError(f"{text[:200]!r} has an amount that is not {kind} from {least:g} to {most:.15g}")
    burst = named.get("burst")
    if burst is None:
        return
    if period != "s":
        raise ValueError(f"{text[:200]!r} has a burst, which only what is counted per s can have")
    if not _BURST.fullmatch(burst) or int(burst) > _MOST_AT_ONCE:
        raise ValueError(f"{text[:200]!r} has a burst that is not a whole number from 1 to {_MOST_AT_ONCE}")
