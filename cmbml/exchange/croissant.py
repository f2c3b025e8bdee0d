"""The card of a dataset for machines: Croissant 1.0, which ML tools and searches of datasets read.

It says which files there are, and how to know them: by the MD5 of each folder's manifest, which has those of
the files.  Like the card it is written from the parameters and the manifests alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.repository import MANIFEST
from cmbml.core.views.trace import Folder
from cmbml.exchange.card import ABOUT, card_path, folders_of, sources_of, write_text
from cmbml.exchange.citations import references

_FORMATS = {
    ".csv": "text/csv",
    ".fits": "application/fits",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}
_ANY_FORMAT = "application/octet-stream"
_TYPES = {str: "sc:Text", int: "sc:Integer", float: "sc:Float"}
# The names that Croissant 1.0 prescribes, each with what it stands for.
_CROISSANT = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet",
    "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
    "transform",
)  # fmt: skip
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{name: f"cr:{name}" for name in _CROISSANT},
}


def write_croissant(plan: Plan) -> Path:
    """Write the Croissant card of the dataset at hand beside its card; the dataset must be complete.

    Raises
    ------
    DataError
        Where a part of it was never made.
    """
    text = json.dumps(croissant(plan), indent=1, ensure_ascii=False)
    return write_text(card_path(plan, ".croissant.json"), f"{text}\n")


def croissant(plan: Plan) -> dict[str, Any]:
    """Describe the dataset, as JSON-LD."""
    params = plan.config.params
    cited = [f"{source.title}: {source.citation}" for _, source in sorted(sources_of(plan).items())]
    splits = [
        {"name": split.name, "simulations": split.n_sims, "population": str(split.population)}
        for split in plan.config.splits.values()
    ]
    bands = [
        {"name": name, "freq_ghz": float(band.freq_ghz), "fwhm_arcmin": float(band.fwhm_arcmin)}
        for name, band in params.instrument.bands.items()
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": plan.config.dataset,
        "description": " ".join([ABOUT, *(f"Derives from {each}." for each in cited)]),
        "license": "https://spdx.org/licenses/MIT.html",
        "creator": {"@type": "Organization", "name": "The cmbml authors"},
        "citeAs": references()["cmbml"].strip(),
        "distribution": [*(_manifest(folder) for _, folder in folders_of(plan)), *_file_sets(plan)],
        "recordSet": [_records("splits", splits), _records("bands", bands)],
    }


def _manifest(folder: Folder) -> dict[str, Any]:
    path = f"{folder.name}/{MANIFEST}"
    file = folder.root / path
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "description": f"Facts of {folder.name}: every file with its size, MD5, code, parameters and inputs",
        "contentUrl": path,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "application/jsonlines",
        "md5": md5_of(file),
    }


def _file_sets(plan: Plan) -> Iterator[dict[str, Any]]:
    for stage in plan.stages.values():
        for name, asset in stage.assets_out.items():
            pattern = plan.pattern(stage, asset)
            yield {
                "@type": "cr:FileSet",
                "@id": f"{stage.key}/{name}",
                "name": f"{stage.key}/{name}",
                "description": f"Output {name} of stage {stage.key}, written by {asset.handler}",
                "encodingFormat": _FORMATS.get(PurePath(pattern).suffix, _ANY_FORMAT),
                "includes": pattern,
            }


def _records(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A small table whose rows stand in the card itself."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{key}",
                "name": f"{name}/{key}",
                "dataType": _TYPES[type(value)],
            }
            for key, value in (rows[0].items() if rows else ())
        ],
        "data": [{f"{name}/{key}": value for key, value in row.items()} for row in rows],
    }
