"""One sky through a trained network, patch by patch, with nothing but its checkpoint."""

import numpy as np
import torch
from torch import nn

from cmbml.methods.nn.checkpoint import load_weights
from cmbml.methods.nn.linear_fit import LinearFit, fitted, left, normalised
from cmbml.methods.nn.training import predict
from cmbml.methods.patch_nn.checkpoint import Checkpoint
from cmbml.methods.patch_nn.network import UNet
from cmbml.methods.patch_nn.patches import Index, join_patches, patch_table
from cmbml.sky.sht import Map, alm2map, map2alm


def clean_patches(
    model: nn.Module,
    maps: Map,
    table: Index,
    statistics: LinearFit,
    *,
    margin: int,
    batch: int,
    lmax: int,
    device: torch.device,
) -> Map:
    """The CMB of one sky, ``(n_stokes, npix)``, uK_CMB, with nothing beyond `lmax`.

    Parameters
    ----------
    model
        The trained network.
    maps
        RING maps of the bands, ``(n_bands, n_stokes, npix)``, uK_CMB.
    table
        From `patch_table`.
    statistics
        Scales and linear fit, of train (see `statistics_of`).
    margin
        Of the patches, in pixels; it is cut off, so that no seam shows.
    batch
        Patches that are in the network at once.
    lmax
        Band-limit.
    device
        Where to compute.
    """
    rows = maps.reshape(-1, maps.shape[-1])
    patches = np.swapaxes(rows[:, table], 0, 1)
    features = torch.as_tensor(normalised(patches, statistics), dtype=torch.float32)
    said = torch.stack(list(predict(model, features, batch=batch, device=device))).double().numpy()
    sky = join_patches(said * left(statistics) + fitted(patches, statistics), margin)
    return alm2map(map2alm(sky, lmax), round(np.sqrt(sky.shape[-1] / 12)))


def clean_sky(checkpoint: Checkpoint, maps: Map, device: torch.device) -> Map:
    """The CMB of one sky, ``(n_stokes, npix)``, uK_CMB, at the beam and band-limit of ``result``.

    Parameters
    ----------
    checkpoint
        What `patch_nn_training` has written.
    maps
        RING maps of its bands in its order, ``(n_bands, n_stokes, npix)``, uK_CMB.
    device
        Where to compute.

    Raises
    ------
    ValueError
        Where the weights are not of the architecture that the checkpoint names.
    """
    made, layout, result = checkpoint["architecture"], checkpoint["layout"], checkpoint["result"]
    n_bands, n_stokes = maps.shape[:2]
    model = UNet(n_bands * n_stokes, n_stokes, made["init"], made["depth"])
    return clean_patches(
        load_weights(model, checkpoint),
        maps,
        patch_table(result["nside"], layout["nside_patches"], layout["margin"]),
        checkpoint["normalisation"],
        margin=layout["margin"],
        batch=layout["batch"],
        lmax=result["lmax"],
        device=device,
    )
