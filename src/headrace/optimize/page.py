"""A comparison as a page for people: HTML with a table and bars, which needs nothing beside it."""

from html import escape
from typing import Final

from headrace.models.manifest import Comparison, VariantReport

_STYLE: Final = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1d2733; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .45rem .6rem; border-bottom: 1px solid #e3e7ea; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.bar { min-width: 11rem; }
td.bar span { display: block; height: .9rem; background: #7a8794; border-radius: 2px; }
tr.passed td.bar span { background: #0b6e4f; }
tr.refused { color: #5f6b76; }
"""
_MIB: Final = 1 << 20


def render_page(model: str, comparison: Comparison) -> str:
    """Return the page; every text from outside is escaped."""
    metric = comparison.metric
    header = [
        "Variant",
        "Weights, MiB",
        "Texts/s",
        "",
        "Speed",
        comparison.agreement,
        *([metric] if metric else ()),
        "",
    ]
    most = max(each.texts_per_s for each in comparison.variants)
    rows = [_row(each, most, has_metric=metric is not None) for each in comparison.variants]
    asked = (
        f"at most {comparison.most_lost:.2%} of {escape(metric)} may be lost"
        if metric
        else f"{escape(comparison.agreement)} must be {comparison.least_agreement:.4f} or more"
    )
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(model)} in other precisions</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(model)} in other precisions</h1>",
            f"<p>Revision {comparison.of_revision[:12]}; {comparison.texts:,} asked on {_place(comparison)}.</p>",
            f"<p>To pass, {asked}. Speed is the median of turns taken beside float32.</p>",
            "<table><thead><tr>" + "".join(f"<th>{escape(name)}</th>" for name in header) + "</tr></thead><tbody>",
            *rows,
            "</tbody></table></body></html>",
            "",
        ]
    )


def _place(comparison: Comparison) -> str:
    return f"{comparison.threads} threads of {escape(comparison.cpu_model)}"


def _row(each: VariantReport, most: float, *, has_metric: bool) -> str:
    numbers = [f"{each.size_bytes / _MIB:.1f}", f"{each.texts_per_s:,.0f}"]
    width = 100 * each.texts_per_s / most if most else 0
    others = [f"{each.speedup:.2f} x", f"{each.agreement:.4f}"]
    if has_metric:
        others.append("" if each.score is None else f"{each.score:.4f}")
    cells = [
        f"<td>{escape(each.name)}</td>",
        *(f'<td class="number">{number}</td>' for number in numbers),
        f'<td class="bar"><span style="width:{width:.1f}%"></span></td>',
        *(f'<td class="number">{number}</td>' for number in others),
        f"<td>{escape(each.verdict)}</td>",
    ]
    return f'<tr class="{"passed" if each.passed else "refused"}">' + "".join(cells) + "</tr>"
