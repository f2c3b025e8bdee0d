"""Write what README.md shows of the dataset that ships: the table of scores, from the finished data."""

import json
import re
from pathlib import Path

import cmbml
from cmbml.analysis.tables import from_dict, home_split, to_markdown
from cmbml.core.spec.roles import SCORES

README = Path(__file__).parent.parent / "README.md"
COLUMNS = ("rmse", "mae", "spectrum_error", "coherence")
START, END = "<!-- scores -->\n", "<!-- /scores -->"


def main() -> None:
    """Replace the table between the two marks."""
    scores = from_dict(json.loads(cmbml.open(README.parent).output(SCORES).at().read()))
    split = home_split(scores)
    shown = {split: {method: {name: row[name] for name in COLUMNS} for method, row in scores[split].items()}}
    text = README.read_text(encoding="utf-8")
    table = f"{START}{to_markdown(shown, split)}{END}"
    README.write_text(re.sub(f"{START}.*{END}", lambda _: table, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
