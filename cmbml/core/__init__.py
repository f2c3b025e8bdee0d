"""Assets, executors and the engine that runs them."""

from cmbml.core.asset import Asset, AssetRef
from cmbml.core.config import Config, load_config
from cmbml.core.context import PipelineContext
from cmbml.core.errors import CmbmlError
from cmbml.core.executor import BaseStageExecutor
from cmbml.core.handlers.base import AssetHandler
from cmbml.core.namer import Namer
from cmbml.core.seeds import generator
from cmbml.core.split import Split
from cmbml.core.stageconfig import StageConfig

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
