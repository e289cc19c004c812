"""A page of figures: everything in it comes from one file of results, with what is needed to doubt it."""

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from bench import http, limits, offline, overload, tables, tail
from bench.charts import charts
from bench.environments import EnvironmentUnusable, environment
from bench.load import SHORT_TOKENS
from bench.pages import index_lines, kind, page_lines
from bench.places import INDEX, PAGES, ROOT
from bench.progress import say
from bench.results import Results
from bench.summary import in_short

_GIB: Final = 1 << 30
_PLOT_LIMIT_S: Final = 120
_MAX_PLOTS_BYTES: Final = 200_000  # they are in git, in every version


def write_report(results: Results) -> None:
    """Write the page for this kind of processor with its plots, and docs/benchmarks.md anew."""
    name = kind(results.about["machine"]["cpu_flags"])
    drawn = _draw(results, PAGES / name)
    page = PAGES / f"{name}.md"
    page.write_text("\n".join(render(results, plots=name if drawn else None)) + "\n", encoding="utf-8")
    INDEX.write_text("\n".join(index_lines(PAGES)) + "\n", encoding="utf-8")
    say(f"wrote {page.relative_to(ROOT)}" + ("" if drawn else ", without plots"))


def _draw(results: Results, folder: Path) -> bool:
    """Draw the plots; returns whether that could be done."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        python = environment("plots").python
    except EnvironmentUnusable as error:
        say(f"no plots: {error}")
        return False
    command = [str(python), "-m", "bench.workers.plots", str(folder)]
    subprocess.run(command, cwd=ROOT, input=json.dumps(charts(results)).encode(), check=True, timeout=_PLOT_LIMIT_S)
    size = sum(path.stat().st_size for path in folder.glob("*.png"))
    if size > _MAX_PLOTS_BYTES:
        raise ValueError(f"the plots have {size} bytes, more than the {_MAX_PLOTS_BYTES} that belong into git")
    return True


def render(results: Results, *, plots: str | None) -> list[str]:
    """Return the page, line by line, with the parts that were measured.

    Args:
        results: Of a run.
        plots: The folder of the plots, as seen from the page; nothing if there are none.
    """
    lines = [*_summary(results), *_short(results)]
    for part, section in _SECTIONS.items():
        if results.candidates(part):
            lines += ["", *section(results, plots=plots)]
    lines += [*_left_out(results), *_versions(results), *_how(results)]
    return page_lines(kind(results.about["machine"]["cpu_flags"]), lines)


def _short(results: Results) -> list[str]:
    lines = in_short(results)
    return ["", *lines] if lines else []


def _summary(results: Results) -> list[str]:
    about, machine = results.about, results.about["machine"]
    flags = ", ".join(machine["cpu_flags"]) or "none of those that matter"
    return [
        f"Measured on {about['date']} at commit `{results.identity['commit']}`, in rounds in which all candidates took",
        f"turns ({_rounds(results)}). Each figure is the median of the rounds, with the",
        "least and the greatest. A ratio is the median of the ratios within the rounds. Tokens are those of the texts:",
        "no padding is counted.",
        "",
        *tables.table(
            ["Machine", ""],
            [
                ["processor", machine["cpu_model"]],
                ["cores this run may use", f"{machine['cpus']:g}"],
                ["instruction sets", flags],
                ["memory", f"{machine['memory_bytes'] / _GIB:.1f} GiB"],
                ["kernel, Python", f"{machine['kernel']}, {machine['python']}"],
                ["load average before the run", _load(machine["load_before"])],
                ["texts", _texts(about["texts"])],
            ],
        ),
    ]


def _rounds(results: Results) -> str:
    numbers = {part: {each.round for each in results.measurements if each.part == part} for part in _SECTIONS}
    return ", ".join(f"{part}: {len(found)}" for part, found in numbers.items() if found)


def _load(value: float) -> str:
    quiet = 0.5
    told = "something else ran in the minute before, **trust the ratios more than the figures**"
    return f"{value:.2f}" if value <= quiet else f"{value:.2f}: {told}"


def _texts(about: dict[str, Any]) -> str:
    lengths = ", ".join(f"{name} {value:.0f}" for name, value in about["lengths"].items())
    note = f"; {about['note']}" if about["note"] else ""
    return f"{about['count']:,} with {about['tokens']:,} tokens; lengths: {lengths}{note}"


def _plot(name: str, title: str, *, plots: str | None) -> list[str]:
    return ["", f"![{title}]({plots}/{name}.png)"] if plots else []


def _limits(results: Results, *, plots: str | None) -> list[str]:  # noqa: ARG001 - as the other sections
    flop = results.about["flop_per_token"] / 1e6
    return [
        "## What the machine could do at most",
        "",
        f"The model's linear layers take {flop:.1f} MFLOP a token. A model that did only these, at the speed of a bare",
        "matrix product of the same shapes, would reach:",
        "",
        *tables.limits_table(results),
    ]


def _offline(results: Results, *, plots: str | None) -> list[str]:
    return [
        "## A list of texts, without HTTP",
        "",
        "Each candidate is a process in an environment of its own. Tokenizing is included. Cosines are those with",
        f"sentence-transformers at fp32, text by text, over {results.about['checked']} texts. *One short text* is how",
        f"long a single text of {SHORT_TOKENS[0]} to {SHORT_TOKENS[-1]} tokens takes when nothing else is to be done.",
        *_plot("offline", "Tokens per second without HTTP", plots=plots),
        "",
        *tables.offline_table(results),
    ]


def _http(results: Results, *, plots: str | None) -> list[str]:
    return [
        "## Servers over loopback",
        "",
        "Each server runs alone, in an environment of its own. *As it comes* is its default, *tuned* is what its",
        "documented options allow; `bench/servers/` has every option with its reason. The load comes from the same",
        "machine.",
        "",
        "### 32 texts a request, 4 clients",
        *_plot("http-batch", "32 texts a request, 4 clients", plots=plots),
        "",
        *tables.throughput_table(results, "batch"),
        "",
        "### Single texts, 32 clients",
        *_plot("http-single", "Single texts, 32 clients", plots=plots),
        "",
        *tables.throughput_table(results, "single"),
        "",
        "### One short text on an idle server, start, memory, accuracy",
        "",
        "*Start* is from launching the process to its first answer. *Memory* is the proportional set size of all its",
        "processes after the loads.",
        "",
        *tables.server_table(results),
        "",
        *tables.ceiling_table(results),
    ]


def _overload(results: Results, *, plots: str | None) -> list[str]:
    return [
        "## More than a server can do",
        "",
        "Requests of one text, then of 32, come at 2, 5 and 10 times what the server answered just before in a closed",
        "loop of requests of the same size; *capacity* is the mean of that and of the same just after. They come",
        "whether or not it keeps up. A latency begins when the request should have been sent. *Good* is an answer",
        "within 1 s; nobody waits longer than 10 s. *Recovery* is from the last request to the first new one that is",
        "answered within 1 s. *Sent late* is how far the load generator, on the same cores, was behind: where it is",
        "large, the load was less than asked. *Since sent* leaves it out. What the generator needs of the cores is",
        "missing to the server: *% of what it left* is the good tokens for each core that the server could have had,",
        "beside those at its capacity.",
        *_plot("overload", "Good answers under overload", plots=plots),
        "",
        *tables.overload_table(results),
    ]


def _tail(results: Results, *, plots: str | None) -> list[str]:  # noqa: ARG001 - as the other sections
    return [
        "## Short texts among long ones",
        "",
        f"Single texts of {SHORT_TOKENS[0]} to {SHORT_TOKENS[-1]} tokens come at {tail.LOAD:.0%} of the *capacity*:",
        "what the server answered just before in a closed loop, of such texts. They come whether or not it keeps up,",
        f"and a latency begins when the request should have been sent. *With* long ones, {tail.LONG_SHARE:.0%} of the",
        f"requests are texts of the model's whole window, and all together come at {tail.LOAD:.0%} of what the server",
        "can do of such a mix. *On top*, there are as many short texts as without, and the long ones besides: they",
        "bring a quarter more tokens, so the load is then some 85 %. Latencies are those of the short texts alone, but",
        "for *long p99*; *refused* and *failed* count all. *Sent late* is how far the load generator, on the same",
        "cores, was behind: it is part of every latency.",
        "",
        *tables.tail_table(results),
    ]


def _left_out(results: Results) -> list[str]:
    if not results.left_out:
        return []
    rows = [[name, reason] for name, reason in sorted(results.left_out.items())]
    return ["", "## Left out", "", *(f"- {name}: {reason}" for name, reason in rows)]


def _versions(results: Results) -> list[str]:
    rows = [
        [f"`{name}`", ", ".join(f"{package} {version}" for package, version in packages.items())]
        for name, packages in results.about["versions"].items()
    ]
    return ["", "## Versions", "", *tables.table(["Environment", "Packages that decide its speed"], rows)]


def _how(results: Results) -> list[str]:
    return [
        "",
        "## Run it yourself",
        "",
        "    make bench          # all of it; some hours, and some 15 GB of rivals in ~/.cache/headrace-bench",
        "    make bench-quick    # the machine's limits, Headrace and the plain runtimes; 3 minutes",
        "",
        f"The model is `{results.identity['model'][:12]}`, the texts have the SHA-256",
        f"`{results.identity['texts'][:12]}`. `bench/README.md` says how it is measured, and why so.",
    ]


_SECTIONS: Final = {
    limits.PART: _limits,
    offline.PART: _offline,
    http.PART: _http,
    overload.PART: _overload,
    tail.PART: _tail,
}
