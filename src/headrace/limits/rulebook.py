"""Which limits are for a request, whom each counts it for, and what is said of them together."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

from headrace.allowance import Allowance
from headrace.errors import LimitExceeded
from headrace.limits.base import Demand
from headrace.limits.kinds import Limit, Reading, make_limit
from headrace.settings import Rule

_MOST_FOUND: Final = 4096  # callers, each with a model, whose limits are found at once


@dataclass(frozen=True, slots=True)
class Line:
    """One limit as it is for one caller.

    Attributes:
        key: Of what is counted: the limit's name, and whoever is counted together, so that no two are one.
        takes_tokens: Whether a request takes its tokens of it; else it takes one.
    """

    limit: Limit
    key: str
    takes_tokens: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request takes of the limits that are for it.

    Attributes:
        tokens: As they are estimated.
    """

    demand: Demand
    lines: Sequence[Line]
    tokens: int

    def cost(self, line: Line) -> int:
        """Return what it takes of a limit."""
        return self.tokens if line.takes_tokens else 1

    def correction(self, line: Line, tokens: int) -> int:
        """Return how much more that was in the end, if so many tokens were computed."""
        if line.takes_tokens:
            return tokens - self.tokens
        return -1 if line.limit.kind == "concurrency" else 0

    def require_room(self, readings: Sequence[Reading]) -> None:
        """Let it pass if there is room for it.

        Raises:
            LimitExceeded: There is not; as of the limit that is longest in its way.
        """
        over = [
            index
            for index, (line, reading) in enumerate(zip(self.lines, readings, strict=True))
            if not line.limit.admits(reading, self.cost(line))
        ]
        if over:
            raise self._refuse(max(over, key=lambda index: self._wait_s(index, readings)), readings)

    def rank(self, readings: Sequence[Reading]) -> tuple[Allowance, ...]:
        """Return what is left, of the limit first that is nearest to its end; of two the one that is later whole."""
        allowances = self._allowances(readings)
        if len(allowances) > 1:
            allowances.sort(key=lambda each: (each.remaining / each.quota, -(each.reset_s or 0.0)))
        return tuple(allowances)

    def _allowances(self, readings: Sequence[Reading]) -> list[Allowance]:
        return [line.limit.allowance(reading) for line, reading in zip(self.lines, readings, strict=True)]

    def _wait_s(self, index: int, readings: Sequence[Reading]) -> float:
        limit, cost = self.lines[index].limit, self.cost(self.lines[index])
        return math.inf if cost > limit.most else limit.wait_s(readings[index], cost) or 0.0

    def _refuse(self, index: int, readings: Sequence[Reading]) -> LimitExceeded:
        limit, reading, cost = self.lines[index].limit, readings[index], self.cost(self.lines[index])
        who = _name(limit, self.demand)
        if cost > limit.most:
            refusal = LimitExceeded(
                f"one request of {who} takes about {cost} {limit.rule.counted}, and all that it may is {limit.most}"
                f"{'' if limit.rule.burst is None else ' at once'}; send less in one request, or ask for more in"
                " limits.rules"
            )
        else:
            refusal = LimitExceeded(f"{who} {limit.reason(reading, cost)}", retry_after_s=limit.wait_s(reading, cost))
        allowances = self._allowances(readings)
        refusal.allowances = (allowances.pop(index), *allowances)
        return refusal


class Rulebook:
    """The limits, those that count the same in one group: of each group the first holds that fits a request."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        groups: dict[str, list[Limit]] = {}
        for rule in rules:
            groups.setdefault(rule.name, []).append(make_limit(rule))
        self._groups = tuple(groups.values())
        self._find = functools.lru_cache(_MOST_FOUND)(self._find_lines)

    def claim(self, demand: Demand) -> Claim | None:
        """Return what a request takes of which limits; nothing if none is for it."""
        if not self._groups:
            return None
        lines = self._find(demand.caller.name, demand.caller.tenant, demand.model)
        if not lines:
            return None
        return Claim(demand, lines, demand.estimate() if any([line.takes_tokens for line in lines]) else 0)  # noqa: C419 - half the time

    def _find_lines(self, caller: str, tenant: str, model: str) -> tuple[Line, ...]:
        limits: list[Limit] = []
        for group in self._groups:
            limits += [limit for limit in group if limit.rule.fits(caller, tenant, model)][:1]
        return tuple(
            Line(limit, _key(limit, caller, tenant, model), limit.rule.counted == "tokens") for limit in limits
        )


def _name(limit: Limit, demand: Demand) -> str:
    tenant = demand.caller.tenant
    if limit.rule.caller is not None:
        who = repr(demand.caller.name)
    else:
        who = f"the tenant {tenant!r}" if tenant else "whoever has no tenant"
    return who if limit.rule.model is None else f"{who} at the model {demand.model!r}"


def _key(limit: Limit, caller: str, tenant: str, model: str) -> str:
    rule = limit.rule
    # A caller is one of its tenant also where the rule is for all tenants.
    parts = (limit.name, tenant, caller if rule.caller else "", model if rule.model else "")
    return ":".join([quote_from_bytes(part.encode("utf-8", "surrogatepass"), safe="") for part in parts])
