"""The results of the bench as tables, for the terminal and for docs/performance.md."""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from tools.bench.figures import MIB, Metric, cpu_per_gib, rss, speed, wall_per_gib
from tools.bench.goals import Goal, Outcome
from tools.bench.governor import PERIOD_SECONDS
from tools.bench.kit import FIRST_BYTE_MILLISECONDS, INSTALL, LANE_MEGABITS, SINK_DELAY_MILLISECONDS
from tools.bench.names import CONNECTIONS, NAIVE, NAIVE_WARM, OURS_COLD, OURS_WARM, SMALL, UNLIMITED
from tools.bench.results import Results
from tools.bench.scenarios import CPU_SHARE, FUNCTION_MIB, Scenario

TEMPLATE = Path(__file__).with_name("performance.template.md")

NONE = "-"
_PLAIN = 10  # figures of goals with a limit from here on have no decimals

Row = Sequence[str]


def text(results: Results) -> str:
    """Return the report for the terminal."""
    blocks = [f"{title}\n{_plain(rows)}" for title, rows in _tables(results)]
    if results.skipped:
        blocks.append("skipped:\n" + "\n".join(f"  {what}" for what in results.skipped))
    return "\n\n".join(blocks)


def document(results: Results, *, picture: str | None) -> str:
    """Return the text of docs/performance.md. `picture` is the file name of its figure, if there is one."""
    tables = dict(_tables(results))
    goals, correctness = tables.pop(_GOALS), tables.pop(_CORRECTNESS, None)
    fields = {
        "date": results.begun[:10],
        "machine": ", ".join(
            (results.machine["processor"], f"{results.machine['cores']} cores", results.machine["kernel"])
        ),
        "load": f"{results.load:.1f}",
        "versions": ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        "picture": f"![CPU for each GiB, and speed over slow connections]({picture})" if picture else "",
        "goals": _markdown(goals),
        "scenarios": "\n\n".join(f"### {title}\n\n{_markdown(rows)}" for title, rows in tables.items()),
        "warm": _warm_against_warm(results),
        "correctness": _markdown(correctness) if correctness else f"Not measured: {results.proofs_absent}.",
        "skipped": "\n".join(f"- {what}" for what in results.skipped) or "Nothing was skipped.",
        "connections": str(CONNECTIONS),
        "first_byte": str(FIRST_BYTE_MILLISECONDS),
        "sink_delay": str(SINK_DELAY_MILLISECONDS),
        "lane": str(LANE_MEGABITS),
        "measured_lane": f"{results.lane_rate * 8 / 1e6:.1f}" if results.lane_rate else NONE,
        "function": str(FUNCTION_MIB),
        "share": f"{CPU_SHARE:.2f}",
        "period": f"{PERIOD_SECONDS * 1000:.0f}",
        "rounds": ", ".join(f"{name} {count}" for name, count in results.rounds.items()),
        "minutes": f"{max(1, round(results.seconds / 60))}",
        "install": INSTALL,
        "cuts": "; ".join(
            f"{name}: {plan.workers} parts of {plan.part_size // MIB} MiB" for name, plan in results.plans.items()
        ),
    }
    return Template(TEMPLATE.read_text()).substitute(fields)


_GOALS, _CORRECTNESS = "Goals", "Correctness"


def _tables(results: Results) -> list[tuple[str, list[Row]]]:
    """Return the tables by title; the first row of each names the columns."""
    tables = [(_GOALS, _goals(results.outcomes))]
    timed = ((f"{one.name}: {one.title}", _contestants(results, one)) for one in results.scenarios)
    tables += [(title, rows) for title, rows in timed if rows]
    if results.proofs:
        tables.append((_CORRECTNESS, _correctness(results)))
    return tables


def _goals(outcomes: Sequence[Outcome]) -> list[Row]:
    rows: list[Row] = [("scenario", "goal", "limit", "measured", "likely", "spread", "")]
    for outcome in outcomes:
        goal, spread = outcome.goal, outcome.spread
        told = (NONE, NONE, NONE)
        if spread:
            likely = _between(spread.likely_low, spread.likely_high, goal)
            told = _amount(spread.median, goal), likely, _between(spread.low, spread.high, goal)
        said = f"{outcome.verdict.value} ({outcome.why})" if outcome.why else outcome.verdict.value
        rows.append((goal.scenario, goal.name, _limit(goal), *told, said))
    return rows


def _limit(goal: Goal) -> str:
    limit = f"{'≥' if goal.at_least else '≤'} {_amount(goal.limit, goal)}"
    return f"{limit}, better {_amount(goal.strive, goal)}" if goal.strive else limit


def _amount(value: float, goal: Goal) -> str:
    return f"{value:.{0 if goal.limit >= _PLAIN else 2}f} {goal.unit}".rstrip()


def _between(low: float, high: float, goal: Goal) -> str:
    return f"{_amount(low, goal)} to {_amount(high, goal)}"


def _contestants(results: Results, scenario: Scenario) -> list[Row]:
    figures = results.figures

    def middle(name: str, metric: Metric, unit: float, digits: int) -> str:
        spread = figures.of(scenario.name, name, metric)
        return f"{spread.median / unit:.{digits}f}" if spread else NONE

    def ours(which: str, name: str, metric: Metric) -> str:
        spread = figures.ratio(scenario.name, which, name, metric) if name != which else None
        return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})" if spread else ""

    head = ["", "MiB", "CPU s/GiB", "s/GiB", "MiB/s", "peak MiB"]
    ratios = OURS_WARM in scenario.contestants
    if ratios:
        head += ["CPU: ours, warm ÷ it", "ours, cold ÷ it", "time: ours, warm ÷ it", "ours, cold ÷ it"]
    rows: list[Row] = []
    for name in scenario.contestants:
        if not figures.of(scenario.name, name, speed):
            continue
        row = [
            name,
            f"{scenario.size_for(name) / MIB:.0f}",
            middle(name, cpu_per_gib, 1, 2),
            middle(name, wall_per_gib, 1, 2),
            middle(name, speed, MIB, 0),
            middle(name, rss, MIB, 0),
        ]
        if ratios:
            row += [
                ours(which, name, metric) for metric in (cpu_per_gib, wall_per_gib) for which in (OURS_WARM, OURS_COLD)
            ]
        rows.append(row)
    return [head, *rows] if rows else []


def _correctness(results: Results) -> list[Row]:
    said = [
        (f"{proof.size:,}", str(proof.parts), "the same" if proof.same else f"WRONG: {proof.why}")
        for proof in results.proofs
    ]
    return [("bytes", "parts", "SHA-256 of what S3 gives back"), *said]


def _warm_against_warm(results: Results) -> str:
    """Return the table of ours beside naive boto3, each in a new process and in a warm one."""
    rows: list[Row] = [("scenario", "", "CPU of ours", "time of ours")]
    for scenario in (UNLIMITED, SMALL):
        for ours, other in ((OURS_WARM, NAIVE_WARM), (OURS_COLD, NAIVE), (OURS_WARM, NAIVE)):
            ratios = [results.figures.ratio(scenario, ours, other, metric) for metric in (cpu_per_gib, wall_per_gib)]
            if all(ratios):
                rows.append((scenario, f"{ours} ÷ {other}", *(f"{ratio.median:.2f}" for ratio in ratios if ratio)))
    return _markdown(rows) if len(rows) > 1 else "Not measured."


def _plain(rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _markdown(rows: Sequence[Row]) -> str:
    head, *rest = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
