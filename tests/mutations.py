"""Twenty slips that tests must notice: ``python tests/mutations.py [NAME...]``.

Run it before and after tests are made faster or moved: a slip that survives has lost its assertion.  Each is
made in a copy of the tree, and the test that must notice it is run there.  Source text and tests are looked
for in the whole tree, so files may move; what is not found, or found twice, ends the program.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
SOURCES = ("cmbml", "tasks")
AT_ONCE = 2
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-budget")
_FAILED = 1  # exit status of pytest where tests ran and some failed


@dataclass(frozen=True)
class Mutation:
    """A slip.

    Attributes
    ----------
    name
        What went wrong, in a few words.
    old, new
        Text that stands once in the sources, and what the slip makes of it.
    test
        Function that must fail.
    """

    name: str
    old: str
    new: str
    test: str


MUTATIONS = (
    Mutation(
        "beam-twice",
        "almxfl(sky, gaussian_beam(float(fwhm), lmax))",
        "almxfl(sky, gaussian_beam(float(fwhm), lmax) ** 2)",
        "test_one_mode_of_each_component_comes_out_with_the_right_beam",
    ),
    Mutation(
        "polarisation-with-the-pixel-window-of-temperature",
        "windows = [temperature, polarisation, polarisation]",
        "windows = [temperature, temperature, temperature]",
        "test_polarisation_pixel_window_is_divided_out",
    ),
    Mutation(
        "polarisation-noise-as-deep-as-temperature",
        "other = depth * POLARISATION_FACTOR if polarised is None else polarised",
        "other = depth if polarised is None else polarised",
        "test_noise_has_its_depth_in_every_stokes_parameter",
    ),
    Mutation(
        "ilc-response-not-one",
        "kept[0] = 1 / np.max(np.abs(mixing[:, 0]))",
        "kept[0] = 1",
        "test_response_of_the_kept_component_may_differ_between_channels",
    ),
    Mutation(
        "mask-coupling-transposed",
        "(d * kernel) @ d.T * (2 * np.arange(lmax + 1) + 1) / 2",
        "(d * kernel) @ d.T * (2 * np.arange(lmax + 1)[:, None] + 1) / 2",
        "test_coupling_is_that_of_single_modes",
    ),
    Mutation(
        "interval-of-normal-quantiles",
        "stats.t.ppf((1 + level) / 2, count - 1)",
        "stats.norm.ppf((1 + level) / 2)",
        "test_few_simulations_have_the_t_interval",
    ),
    Mutation(
        "foregrounds-shared-by-paired-splits",
        'generator(self.seed, split.name, sim, "foregrounds")',
        'generator(self.seed, split.stream, sim, "foregrounds")',
        "test_no_purpose_of_random_numbers_is_shared_by_two_splits",
    ),
    Mutation(
        "fingerprint-without-inputs",
        "[self.recipe(portion).digest, self.identity(Piece(portion, None)), self._shared(portion)]",
        "[self.recipe(portion).digest, self.identity(Piece(portion, None))]",
        "test_a_parameter_changes_its_dependents_and_says_why",
    ),
    Mutation(
        "undeclared-parameter-read",
        'if key == declared or key.startswith(f"{declared}."):',
        'if key.partition(".")[0] == declared.partition(".")[0]:',
        "test_undeclared_parameters_raise_with_the_line_to_add",
    ),
    Mutation(
        "file-written-under-its-own-name",
        "stage_file(self, path, data, options).replace(path)",
        "self.write_whole(path, data, **options)",
        "test_a_failed_write_leaves_the_old_file_and_nothing_else",
    ),
    Mutation(
        "lock-held-by-two",
        "fcntl.LOCK_EX | fcntl.LOCK_NB, count, first",
        "fcntl.LOCK_SH | fcntl.LOCK_NB, count, first",
        "test_a_second_run_waits_for_the_first_and_names_it",
    ),
    Mutation(
        "unwanted-files-kept",
        "for fact in (*self.manifest.facts.values(), *indexed) for path in fact.files",
        "for fact in () for path in fact.files",
        "test_shrinking_removes_what_is_ours_and_nothing_else",
    ),
    Mutation(
        "damaged-cache-restored",
        "return md5_of(unfinished) == md5",
        "return unfinished.is_file()",
        "test_a_damaged_cache_is_not_believed",
    ),
    Mutation(
        "last-block-left-out",
        "for first in range(0, pieces, size))",
        "for first in range(0, pieces - size + 1, size))",
        "test_workers_make_the_same_bytes_in_few_processes",
    ),
    Mutation(
        "failed-stage-tried-again",
        "failed.value = 1",
        "failed.value = 0",
        "test_each_way_ends_with_an_error_when_a_stage_fails",
    ),
    Mutation(
        "download-resumed-at-the-wrong-byte",
        "if found is None or int(found[1]) != part.size:",
        "if found is None:",
        "test_one_fault_is_survived",
    ),
    Mutation(
        "archive-leads-out-of-its-folder",
        'if name.is_absolute() or ".." in name.parts or',
        "if name.is_absolute() or",
        "test_what_is_unsafe_is_refused_and_leaves_nothing",
    ),
    Mutation(
        "mistake-ends-as-a-crash-does",
        "with one_line_errors(_USER_MISTAKE):",
        "with one_line_errors(1):",
        "test_mistakes_are_one_line",
    ),
    Mutation(
        "report-not-escaped",
        "autoescape=True",
        "autoescape=False",
        "test_text_is_escaped",
    ),
    Mutation(
        "comments-lost-by-a-profile",
        "edited(text, values, files)",
        "edited(files[-1], values, files)",
        "test_comments_and_style_survive_a_profile",
    ),
)


@dataclass(frozen=True)
class Located:
    """A slip with the file that it is made in and its test as pytest calls it: paths from the root."""

    mutation: Mutation
    file: Path
    test: str


def main() -> None:
    """Make the named slips, or all, and end with 1 unless tests notice each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [mutation.name for mutation in MUTATIONS]
    parser.add_argument("name", nargs="*", help=f"by default all: {', '.join(names)}")
    wanted = parser.parse_args().name
    if unknown := set(wanted) - set(names):
        sys.exit(f"no such mutation: {', '.join(sorted(unknown))}")
    located = locate([mutation for mutation in MUTATIONS if mutation.name in wanted or not wanted])
    expect_passing(located)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        survivors = sum(pool.map(survives, located))
    print(f"{len(located) - survivors} of {len(located)} killed")
    sys.exit(survivors > 0)


def locate(mutations: Iterable[Mutation]) -> list[Located]:
    """Find source text and tests; end the program with all that is not there once."""
    sources = _texts(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    tests = _texts((ROOT / "tests").rglob("test_*.py"))
    located, problems = [], []
    for mutation in mutations:
        files = _places(sources, re.escape(mutation.old))
        homes = _places(tests, rf"^def {mutation.test}\(")
        if len(files) == len(homes) == 1:
            located.append(Located(mutation, files[0], f"{homes[0]}::{mutation.test}"))
        if len(files) != 1:
            problems.append(f"{mutation.name}: {len(files)} places with {mutation.old!r}, expected 1")
        if len(homes) != 1:
            problems.append(f"{mutation.name}: {len(homes)} tests {mutation.test}, expected 1")
    if problems:
        sys.exit("\n".join(problems))
    return located


def _texts(paths: Iterable[Path]) -> dict[Path, str]:
    return {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in sorted(paths)}


def _places(texts: dict[Path, str], pattern: str) -> list[Path]:
    """Files with a pattern, each as often as it stands there."""
    return [path for path, text in texts.items() for _ in re.finditer(pattern, text, re.MULTILINE)]


def expect_passing(located: list[Located]) -> None:
    """Run the tests of all slips on the tree as it is; end the program where one fails."""
    start = time.monotonic()
    with copied_tree() as folder:
        done = run_tests(folder, *(one.test for one in located), "-n", str(AT_ONCE))
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}the tests do not pass on the tree as it is")
    print(f"on the tree as it is all pass  {time.monotonic() - start:.1f} s", flush=True)


def survives(located: Located) -> bool:
    """Make a slip in a copy of the tree, say whether its test notices, and return whether it does not."""
    start = time.monotonic()
    mutation = located.mutation
    with copied_tree() as folder:
        path = folder / located.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        done = run_tests(folder, located.test, "-x")
    survived = done.returncode != _FAILED
    verdict = "SURVIVED" if survived else "killed"
    detail = done.stdout + done.stderr if survived else ""
    print(f"{verdict:<8} {time.monotonic() - start:5.1f} s  {mutation.name}\n{detail}", end="", flush=True)
    return survived


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy of the tree, on the code of the copy."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "Agg"}
    return subprocess.run(
        [*PYTEST, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Copy what belongs to the repository, new files among it, into a temporary one."""
    listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with TemporaryDirectory(prefix="cmbml-mutation-") as place:
        folder = Path(place) / "tree"
        for name in filter(None, names.split("\0")):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
        # Some tests copy the tree in turn.
        subprocess.run(("git", "init", "-q"), cwd=folder, check=True)
        yield folder


if __name__ == "__main__":
    main()
