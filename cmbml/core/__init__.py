"""Assets, executors and the engine that runs them."""

from cmbml.core.engine.context import PipelineContext
from cmbml.core.errors import CmbmlError
from cmbml.core.files.asset import Asset, AssetRef
from cmbml.core.handlers.base import AssetHandler
from cmbml.core.spec.config import Config, load_config
from cmbml.core.spec.namer import Namer
from cmbml.core.spec.split import Split
from cmbml.core.stage.executor import BaseStageExecutor
from cmbml.core.stage.sealed import StageConfig
from cmbml.sky.rng import generator

__all__ = [
    "Asset",
    "AssetHandler",
    "AssetRef",
    "BaseStageExecutor",
    "CmbmlError",
    "Config",
    "Namer",
    "PipelineContext",
    "Split",
    "StageConfig",
    "generator",
    "load_config",
]
