"""The patterns as a newcomer meets them: an executor, a top-level script, a handler used alone."""

import subprocess
import sys

import numpy as np

from cmbml.core import AssetHandler, PipelineContext, Split
from cmbml.core.handlers import get_handler

PIPELINE = """\
stages:
  make_spectrum:
    executor: main_power.MakeSpectrumExecutor
    dir_name: spectra
    params: [instrument.lmax]
    assets_out:
      cmb_ps: {handler: PowerSpectrum, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/ps.txt"}
  make_weights:
    executor: main_power.MakeWeightsExecutor
    dir_name: weights
    params: [instrument.lmax, analysis.fwhm_arcmin]
    assets_out:
      beam: {handler: NumpyMap, path_template: "{root}/{dataset}/{stage}/beam.npy"}
  make_map:
    executor: main_power.MakeMapExecutor
    dir_name: maps
    params: [seed, instrument.nside]
    assets_out:
      cmb_map: {handler: HealpyMap, path_template: "{root}/{dataset}/{stage}/{split}/{sim}/map.fits"}
    assets_in:
      spectrum: {stage: make_spectrum, orig_name: cmb_ps}
      beam: {stage: make_weights}
"""

SCRIPT = '''\
"""One spectrum and one beam become one map, for every simulation."""

import sys

import numpy as np

from cmbml.core import Asset, BaseStageExecutor, CmbmlError, PipelineContext, Split, generator, load_config
from cmbml.sky.sht import alm2map, almxfl, draw_alm, gaussian_beam
from cmbml.sky.skymap import SkyMap


class MakeSpectrumExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="make_spectrum")
        self.out_ps: Asset = self.assets_out["cmb_ps"]
        self.lmax = cfg.instrument.lmax

    def process_sim(self, split: Split, sim: int):
        ell = np.arange(self.lmax + 1)
        self.out_ps.write({"TT": 1000.0 / (1 + ell) ** 2})


class MakeWeightsExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="make_weights")
        self.out_beam = self.assets_out["beam"]
        self.window = gaussian_beam(cfg.analysis.fwhm_arcmin, cfg.instrument.lmax)

    def execute(self):
        self.out_beam.write(self.window)


class MakeMapExecutor(BaseStageExecutor):
    def __init__(self, cfg):
        super().__init__(cfg, stage_str="make_map")
        self.out_map = self.assets_out["cmb_map"]
        self.in_spectrum = self.assets_in["spectrum"]
        self.in_beam = self.assets_in["beam"]
        self.seed = cfg.seed
        self.nside = cfg.instrument.nside

    def execute(self):
        self.default_execute()

    def process_split(self, split: Split):
        for sim in split.iter_sims():
            with self.name_tracker.set_context("sim", sim):
                self.process_sim(split, sim)

    def process_sim(self, split: Split, sim: int):
        rng = generator(self.seed, split.stream, sim, "cmb")
        alm = almxfl(draw_alm(self.in_spectrum.read()["TT"], rng), self.in_beam.read())
        self.out_map.write(SkyMap(alm2map(alm[np.newaxis], self.nside), "uK_CMB"))


def main():
    cfg = load_config(".")
    pipeline_context = PipelineContext(cfg)
    pipeline_context.add_pipe(MakeSpectrumExecutor)
    pipeline_context.add_pipe(MakeWeightsExecutor)
    pipeline_context.add_pipe(MakeMapExecutor)
    pipeline_context.prerun_pipeline()
    try:
        pipeline_context.run_pipeline()
    except CmbmlError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
'''


def tutorial(toy):
    (toy.root / "pipeline/toy.yaml").unlink()
    toy.write("pipeline/power.yaml", PIPELINE)
    toy.write("main_power.py", SCRIPT)
    toy.edit("params.yaml", "nside: 64\n  lmax: 160", "nside: 8\n  lmax: 16")
    toy.edit("params.yaml", "lmax: 160\n  band_width", "lmax: 16\n  band_width")


def start(toy, ok=True):
    done = subprocess.run(
        [sys.executable, "main_power.py"], cwd=toy.root, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == ok, done.stderr
    return done


def test_the_script_makes_what_the_yaml_says_and_makes_it_once(toy):
    tutorial(toy)
    start(toy)
    files = toy.files()
    assert "toy/maps/shifted/sim0002/map.fits" in files
    assert "toy/weights/beam.npy" in files
    written = (toy.root / "data/toy/maps/test/sim0000/map.fits").stat().st_mtime_ns
    start(toy)
    assert (toy.root / "data/toy/maps/test/sim0000/map.fits").stat().st_mtime_ns == written
    sky = get_handler("HealpyMap").read(toy.root / "data/toy/maps/test/sim0000/map.fits")
    assert sky.nside == 8
    assert np.isfinite(sky.values).all()


def test_the_script_and_the_command_line_make_the_same_bytes(toy):
    tutorial(toy)
    start(toy)
    files = toy.files()
    assert "everything is complete" in toy.cmbml("status").stdout
    for path in (toy.root / "data").rglob("map.fits"):
        path.unlink()
    toy.cmbml("run")
    assert toy.files() == files


def test_prerun_tells_all_problems_before_anything_is_made(toy):
    tutorial(toy)
    toy.edit("pipeline/power.yaml", "params: [seed, instrument.nside]", "params: [instrument.nside, mask]")
    toy.edit("pipeline/power.yaml", "[instrument.lmax, analysis.fwhm_arcmin]", "[instrument.lmax]")
    message = start(toy, ok=False).stderr
    assert "add 'seed' to 'params' of stage 'make_map' in pipeline/power.yaml" in message
    assert "add 'analysis' to 'params' of stage 'make_weights' in pipeline/power.yaml" in message
    assert not (toy.root / "data").exists()


class TextHandler(AssetHandler):
    """A handler as the tutorial's reader writes it."""

    def read(self, path):
        return path.read_text()

    def write(self, path, data):
        path.write_text(data)


def test_a_handler_is_used_alone(tmp_path):
    TextHandler().write(tmp_path / "folder" / "note.txt", "hello")
    assert TextHandler().read(tmp_path / "folder" / "note.txt") == "hello"


def test_a_context_takes_each_stage_once(toy):
    import pytest
    import toy as module

    context = PipelineContext(toy.config())
    context.add_pipe(module.NumberExecutor)
    with pytest.raises(Exception, match="stage 'number' has two executors"):
        context.add_pipe(module.NumberExecutor)


def test_a_context_runs_part_of_a_pipeline_on_what_is_there(toy):
    import toy as module

    first, second = PipelineContext(toy.config()), PipelineContext(toy.config())
    first.add_pipe(module.NumberExecutor)
    first.run_pipeline()
    second.add_pipe(module.DoubleExecutor)
    second.prerun_pipeline()
    second.run_pipeline()
    assert "toy/double/test/sim0002/double.yaml" in toy.files()
    assert isinstance(toy.config().splits["test"], Split)
