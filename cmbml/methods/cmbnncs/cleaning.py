"""One sky through a trained network, with nothing but its checkpoint."""

import torch

from cmbml.methods.cmbnncs.checkpoint import Checkpoint
from cmbml.methods.cmbnncs.features import cmb_planes, feature_planes, sky_of
from cmbml.methods.cmbnncs.network import KERNELS, UNet
from cmbml.methods.nn.checkpoint import load_weights
from cmbml.methods.nn.training import predict
from cmbml.sky.sht import Map


def clean_sky(checkpoint: Checkpoint, maps: Map, device: torch.device) -> Map:
    """The CMB of one sky.

    Parameters
    ----------
    checkpoint
        What `cmbnncs_training` has written.
    maps
        RING maps of its bands in its order, ``(n_bands, n_stokes, npix)``, uK_CMB.
    device
        Where to compute.

    Returns
    -------
    Map
        RING, ``(n_stokes, npix)``, uK_CMB, at the beam and band-limit of the checkpoint's ``result``.

    Raises
    ------
    ValueError
        Where the weights are not of the architecture that the checkpoint names.
    """
    made, scale = checkpoint["architecture"], checkpoint["normalisation"]
    n_bands, n_stokes = maps.shape[:2]
    model = UNet(n_bands * n_stokes, n_stokes, made["channels"], KERNELS[made["name"]])
    planes = torch.as_tensor(feature_planes(maps, scale))
    (said,) = predict(load_weights(model, checkpoint), planes[None], batch=1, device=device)
    return sky_of(cmb_planes(said.numpy(), maps, scale), checkpoint["result"]["lmax"])
