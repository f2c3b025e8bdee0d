"""Tables of scores: JSON, CSV, Markdown and LaTeX from the same numbers."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cmbml.analysis.metric import FIELDS, MASKED, SCORED, Metric, metric_name
from cmbml.analysis.pixel import METRICS
from cmbml.analysis.reference import NOISE_FLOOR, PERFECT, REFERENCE_LABELS
from cmbml.analysis.residuals import RESIDUAL_METRICS
from cmbml.analysis.spectra.scores import SPECTRAL_METRICS
from cmbml.analysis.statistics import Interval, Scores

Row = Mapping[str, Interval]
PlainScores = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float | None]]]]

LEADING = "rmse"
"""The metric that experiments, rows and skies are compared by first."""

HOME = "test"
"""The split whose skies are like those that methods learn from; else the first one stands for it."""

MAX_HEADLINE = 12
"""As many numbers as `dvc exp show` can show side by side."""

KNOWN_METRICS: dict[str, Metric] = METRICS | RESIDUAL_METRICS | SPECTRAL_METRICS
"""Every metric that cmbml computes, in the order of columns."""


def to_dict(scores: Scores) -> PlainScores:
    """Nested plain data ``{split: {method: {metric: {mean, lo, hi}}}}``, with null for what is not finite."""
    return {
        split: {
            method: {name: _plain(interval) for name, interval in row.items()}
            for method, row in methods.items()
        }
        for split, methods in scores.items()
    }


def from_dict(data: PlainScores) -> Scores:
    """Scores from what `to_dict` made; a null mean comes back as infinity (PSNR without error)."""
    return {
        split: {
            method: {name: _interval(entry) for name, entry in row.items()} for method, row in methods.items()
        }
        for split, methods in data.items()
    }


def to_json(scores: Scores) -> str:
    """All scores: JSON of `to_dict`, sorted."""
    return json.dumps(to_dict(scores), indent=2, sort_keys=True, allow_nan=False) + "\n"


def headline(scores: Scores) -> str:
    """The few numbers that experiments are compared by: mean RMSE on the home split, the best methods first.

    JSON ``{split: {"rmse": {method: mean}}}`` with at most `MAX_HEADLINE` numbers, without the perfect
    estimate, which is zero but for rounding.
    """
    split = home_split(scores)
    rows = {name: row for name, row in scores[split].items() if name != PERFECT and LEADING in row}
    means = {name: row[LEADING].mean for name, row in rows.items()}
    best = dict(sorted(means.items(), key=lambda item: item[1])[:MAX_HEADLINE])
    return json.dumps({split: {LEADING: best}}, indent=2, allow_nan=False) + "\n"


def home_split(names: Iterable[str]) -> str:
    """The split whose skies are like those that methods learn from: test, else the first."""
    known = list(names)
    return HOME if HOME in known else known[0]


def to_csv(scores: Scores) -> str:
    """Scores in long form, a line per split, method and metric; empty where there is no number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["split", "method", "metric", "mean", "lo", "hi"])
    for split, method, name, interval in _cells(scores):
        writer.writerow([split, method, name, *_numbers(interval)])
    return out.getvalue()


def differences_csv(pairs: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Interval]]]]) -> str:
    """Paired differences in long form, method minus other: `cmbml.analysis.statistics.all_differences`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["metric", "split", "method", "other", "mean", "lo", "hi"])
    for name, splits in pairs.items():
        for split, methods in splits.items():
            for method, others in methods.items():
                for other, interval in others.items():
                    writer.writerow([name, split, method, other, *_numbers(interval)])
    return out.getvalue()


def all_markdown(scores: Scores) -> str:
    """Every split as a Markdown table below its name."""
    return "\n".join(f"## {split}\n\n{to_markdown(scores, split)}" for split in scores)


def all_latex(scores: Scores) -> str:
    """Every split as a LaTeX tabular below a comment with its name."""
    return "\n".join(f"% split {split}\n{to_latex(scores, split)}" for split in scores)


def leading(methods: Mapping[str, Row]) -> list[str]:
    """The four metrics that say most of a method: with polarisation, of E and B as well."""
    present = metric_names(methods)
    order = ("rmse", "spectrum_error", "coherence_EE", "coherence_BB", "transfer_error", "coherence")
    return [name for name in order if name in present][:4]


def to_markdown(scores: Scores, split: str, names: Sequence[str] | None = None) -> str:
    """One split as a Markdown table, a row per method, reference rows in italics; all metrics by default."""
    names = metric_names(scores[split]) if names is None else names
    lines = [
        "| method | " + " | ".join(header(name) for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for method in ordered_methods(scores[split]):
        label = f"*{REFERENCE_LABELS[method]}*" if method in REFERENCE_LABELS else method
        cells = [format_interval(scores[split][method].get(name)) for name in names]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    return "\n".join(lines) + "\n"


def to_latex(scores: Scores, split: str) -> str:
    """One split as a LaTeX tabular (booktabs), reference rows in italics."""
    names = metric_names(scores[split])
    lines = [
        r"\begin{tabular}{l" + "r" * len(names) + "}",
        r"\toprule",
        "method & " + " & ".join(_latex_text(header(name)) for name in names) + r" \\",
        r"\midrule",
    ]
    for method in ordered_methods(scores[split]):
        label = _latex_text(REFERENCE_LABELS.get(method, method))
        cells = [_latex_interval(scores[split][method].get(name)) for name in names]
        lines.append(
            " & ".join([rf"\textit{{{label}}}" if method in REFERENCE_LABELS else label, *cells]) + r" \\"
        )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def metric_names(methods: Mapping[str, Row]) -> list[str]:
    """Metrics that any method of a split has: known ones first, in the order of `KNOWN_METRICS`."""
    order = [
        metric_name(name, field, region)
        for region in (SCORED, MASKED)
        for field in ("T", *FIELDS)
        for name in KNOWN_METRICS
    ]
    present = {name for row in methods.values() for name in row}
    return [name for name in order if name in present] + sorted(present - set(order))


def parse_name(name: str) -> tuple[str, str, str]:
    """Undo `metric_name`: metric, field (empty for T and TT) and region."""
    of_field, _, region = name.rpartition("_")
    if region != MASKED:
        of_field, region = name, SCORED
    base, _, field = of_field.rpartition("_")
    return (base, field, region) if field in FIELDS and base in KNOWN_METRICS else (of_field, "", region)


def ordered_methods(methods: Mapping[str, Row]) -> list[str]:
    """The perfect estimate, the noise floor, then methods from best to worst RMSE (by name without one)."""
    references = [name for name in (PERFECT, NOISE_FLOOR) if name in methods]
    others = sorted(name for name in methods if name not in REFERENCE_LABELS)
    missing = Interval(math.inf, None, None)
    return references + sorted(others, key=lambda name: methods[name].get("rmse", missing).mean)


def metric(name: str) -> Metric:
    """What a metric means; one that is not known (from other tables) has its name and no unit."""
    base, field, region = parse_name(name)
    if base not in KNOWN_METRICS:
        return Metric(name, "", False, "")
    known = KNOWN_METRICS[base]
    words = [known.label, field, "under the mask" if region == MASKED else ""]
    return replace(known, label=" ".join(word for word in words if word))


def header(name: str) -> str:
    """Column header of a metric with its unit."""
    known = metric(name)
    return f"{known.label} [{known.unit}]" if known.unit else known.label


def format_interval(interval: Interval | None) -> str:
    """``mean [lo, hi]`` with the digits that the interval supports; a dash where there is no score."""
    if interval is None:
        return "-"
    if math.isinf(interval.mean):
        return "∞"
    if interval.lo is None or interval.hi is None:
        return f"{interval.mean:#.4g}".rstrip(".")
    digits = _digits(interval.lo, interval.hi)
    if digits is None:
        return f"{interval.mean:.3g} [{interval.lo:.3g}, {interval.hi:.3g}]"
    # Adding zero takes the sign off a negative one.
    mean, lo, hi = (f"{round(x, digits) + 0.0:.{digits}f}" for x in (interval.mean, interval.lo, interval.hi))
    return f"{mean} [{lo}, {hi}]"


def _digits(lo: float, hi: float) -> int | None:
    """Decimals that show two digits of the interval's width; None where plain decimals would mislead."""
    width = hi - lo
    if width <= 0 or width < 1e-6:
        return None
    return max(0, 1 - math.floor(math.log10(width)))


def _cells(scores: Scores) -> Iterator[tuple[str, str, str, Interval]]:
    for split, methods in sorted(scores.items()):
        for method, row in sorted(methods.items()):
            for name, interval in sorted(row.items()):
                yield split, method, name, interval


def _numbers(interval: Interval) -> list[str]:
    """Mean and ends with all their digits, empty where there is none."""
    return ["" if number is None else repr(number) for number in _plain(interval).values()]


def _plain(interval: Interval) -> dict[str, float | None]:
    return {
        "mean": interval.mean if math.isfinite(interval.mean) else None,
        "lo": interval.lo,
        "hi": interval.hi,
    }


def _interval(entry: Mapping[str, float | None]) -> Interval:
    mean = entry["mean"]
    return Interval(math.inf if mean is None else mean, entry["lo"], entry["hi"])


def _latex_text(text: str) -> str:
    for plain, tex in (("_", r"\_"), ("%", r"\%"), ("&", r"\&"), ("µ", r"$\mu$"), ("²", "$^2$")):
        text = text.replace(plain, tex)
    return text


def _latex_interval(interval: Interval | None) -> str:
    return format_interval(interval).replace("∞", r"$\infty$")
