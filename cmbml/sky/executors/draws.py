"""Stages that draw what tells one simulation from the next, and check that splits share none of it."""

from collections.abc import Mapping
from dataclasses import asdict

from cmbml.core import Asset, BaseStageExecutor, Split, StageConfig, generator
from cmbml.core.errors import DataError
from cmbml.sky.audit import Drawn, paired_splits, shared_foregrounds
from cmbml.sky.distributions import distribution
from cmbml.sky.foregrounds import FOREGROUND_KEYS, PYSM, Draw, draw_foregrounds


class DrawsExecutor(BaseStageExecutor):
    """Draws what tells one simulation's foregrounds and noise from the next.

    Foregrounds are drawn from the split's own name, noise and CMB from its stream: paired splits have the
    same CMB and noise, and other foregrounds.
    """

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="draws")
        self.out_draw: Asset[Draw] = self.assets_out["draw"]
        self.seed = cfg.seed
        self.populations = cfg.populations
        self.model = cfg.foregrounds.model
        self.presets = cfg.foregrounds.presets

    def process_sim(self, split: Split, sim: int) -> None:
        """Draw one simulation's numbers from the split's population."""
        population = self.populations[split.population]
        spreads = {key: distribution(**getattr(population, key).values) for key in FOREGROUND_KEYS}
        level = distribution(**population.noise_level.values)
        try:
            foregrounds = draw_foregrounds(spreads, generator(self.seed, split.name, sim, "foregrounds"))
            noise_level = level.draw(generator(self.seed, split.stream, sim, "noise_level"), positive=True)
        except ValueError as error:
            raise DataError(f"the population of split {split.name}: {error}") from None
        models = population.models or (self.model,)
        choice = int(generator(self.seed, split.name, sim, "model").integers(len(models)))
        model = "+".join(self.presets) if models[choice] == PYSM else models[choice]
        self.out_draw.write({"model": model, **asdict(foregrounds), "noise_level": noise_level})


class LeakageExecutor(BaseStageExecutor):
    """Looks for foreground draws that two splits share, and lists the splits that are paired."""

    def __init__(self, cfg: StageConfig) -> None:
        super().__init__(cfg, stage_str="leakage")
        self.out_audit: Asset[Mapping[str, int | list[str]]] = self.assets_out["audit"]
        self.in_draw: Asset[Draw] = self.assets_in["draw"]

    def execute(self) -> None:
        """Compare all splits, and refuse a leak."""
        drawn = [
            Drawn(split.name, split.stream, sim, self.in_draw.at(split=split.name, sim=sim).read())
            for split in self.splits
            for sim in split.iter_sims()
        ]
        if found := shared_foregrounds(drawn):
            raise DataError(
                f"{len(found)} simulations have the foregrounds of another split, the first: {found[0]}: "
                "give their populations scatter, or delete stage 'leakage' from pipeline/simulation.yaml"
            )
        self.out_audit.write({"simulations": len(drawn), "paired": paired_splits(drawn), "leaks": found})
