"""Checks expressions of Prometheus against what a server says of itself: metrics, their labels, values of these.

An expression that names what does not exist is no error to Prometheus: it gives nothing, and an alert stays silent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import promql_parser as promql

SCRAPED = frozenset({"job", "instance"})
"""Labels that every series gets when it is scraped."""
_GRAFANA = re.compile(r"\[\$__rate_interval\]")


class ExpressionWrong(ValueError):
    """An expression cannot be read, or names something that does not exist."""


@dataclass(frozen=True)
class Vocabulary:
    """What expressions may name.

    Attributes:
        labels: Of each series by its name, those of the scrape not included.
        values: Those that a label can have, of labels whose values are known.
    """

    labels: Mapping[str, frozenset[str]]
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def read(self, text: str) -> frozenset[str]:
        """Return the labels that what an expression gives has.

        Raises:
            ExpressionWrong: It cannot be read, or names a series, a label or a value that does not exist.
        """
        try:
            parsed = promql.parse(_GRAFANA.sub("[5m]", text))
        except ValueError as error:
            raise ExpressionWrong(f"{text!r}: {error}") from error
        return self._labels_of(parsed)

    def _labels_of(self, expr: promql.Expr) -> frozenset[str]:
        match expr:
            case promql.VectorSelector():
                return self._select(expr)
            case promql.AggregateExpr():
                return self._aggregate(expr)
            case promql.Call():
                return self._call(expr)
            case promql.BinaryExpr():
                return self._combine(expr)
            case promql.NumberLiteral():
                return frozenset()
            case promql.MatrixSelector():
                inner: promql.Expr = expr.vector_selector
            case promql.ParenExpr() | promql.UnaryExpr():
                inner = expr.expr
            case _:
                raise ExpressionWrong(f"this check does not know {type(expr).__name__}: {expr.prettify()}")
        return self._labels_of(inner)

    def _select(self, selector: promql.VectorSelector) -> frozenset[str]:
        name = selector.name or ""
        if name not in self.labels:
            raise ExpressionWrong(f"there is no series {name!r}")
        labels = self.labels[name] | SCRAPED
        for matcher in selector.matchers.matchers:
            self._require({matcher.name}, labels, name)
            self._check_value(matcher)
        return labels

    def _check_value(self, matcher: promql.Matcher) -> None:
        known = self.values.get(matcher.name)
        if known is None or matcher.value.startswith("$"):
            return
        is_pattern = matcher.op == promql.MatchOp.Re or matcher.op == promql.MatchOp.NotRe  # noqa: PLR1714 - no hash
        wanted = matcher.value.split("|") if is_pattern and "(" not in matcher.value else [matcher.value]
        for each in wanted:
            if not any(re.fullmatch(each, value) if is_pattern else each == value for value in known):
                raise ExpressionWrong(f"{matcher.name!r} is never {each!r}")

    def _aggregate(self, expr: promql.AggregateExpr) -> frozenset[str]:
        inner = self._labels_of(expr.expr)
        if expr.modifier is None:
            return frozenset()
        named = frozenset(expr.modifier.labels)
        self._require(named, inner, expr.prettify())
        return named if expr.modifier.type == promql.AggModifierType.By else inner - named

    def _call(self, expr: promql.Call) -> frozenset[str]:
        found = [self._labels_of(each) for each in expr.args]
        labels = frozenset[str]().union(*found)
        if expr.func.name == "absent":
            return frozenset()
        if expr.func.name == "histogram_quantile":
            self._require({"le"}, labels, expr.prettify())
            return labels - {"le"}
        return labels

    def _combine(self, expr: promql.BinaryExpr) -> frozenset[str]:
        left, right = self._labels_of(expr.lhs), self._labels_of(expr.rhs)
        both = [side for side in (left, right) if side]
        matching = expr.modifier.matching if expr.modifier else None
        if matching is not None:
            for side in both:
                self._require(matching.labels, side, expr.prettify())
            return frozenset(matching.labels)
        if len(both) == 2 and left != right:
            raise ExpressionWrong(f"the sides have other labels, so that nothing matches: {expr.prettify()}")
        return left or right

    def _require(self, named: "set[str] | frozenset[str] | list[str]", labels: frozenset[str], where: str) -> None:
        if missing := set(named) - labels:
            raise ExpressionWrong(f"{where} has no label {sorted(missing)}")
