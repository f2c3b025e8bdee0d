"""HEALPix layers: true neighbours across faces, NESTED pooling, the same everywhere on the sphere."""

import healpy as hp
import numpy as np
import pytest
import torch

from cmbml.methods.nn.faces import extended_index, from_faces, ring_index, to_faces
from cmbml.methods.nn.layers import FacePadding, HealpixConv, HealpixUNet

NSIDE = 8


def directions(index, nside=NSIDE):
    """Unit vectors of the pixels behind flat face indices."""
    return np.stack(hp.pix2vec(nside, ring_index(nside).ravel()[index]), axis=-1)


def as_tensor(sky):
    """Faces of RING maps ``(n, c, npix)`` as a layer takes them."""
    faces = to_faces(sky).transpose(0, 2, 1, 3, 4)
    return torch.from_numpy(np.ascontiguousarray(faces.reshape(-1, *faces.shape[2:])))


def as_maps(x):
    faces = x.detach().numpy().reshape(-1, 12, *x.shape[1:]).transpose(0, 2, 1, 3, 4)
    return from_faces(faces)


def apply(layer, sky):
    with torch.no_grad():
        return as_maps(layer(as_tensor(sky)))


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return build().double()


def test_faces_and_maps_are_the_same_pixels():
    sky = np.random.default_rng(1).standard_normal((2, 12 * NSIDE**2))
    assert (from_faces(to_faces(sky)) == sky).all()
    nested = hp.reorder(sky[0], r2n=True)
    # the children of a NESTED pixel are 2 x 2 pixels of its face
    assert to_faces(sky[0])[3, :2, :2].ravel() == pytest.approx(nested[3 * NSIDE**2 :][:4])


@pytest.mark.parametrize("margin", [1, 3])
def test_the_margin_is_the_sky_beyond_the_edge(margin):
    """Steps between neighbours of the margin are as long as inside, and nothing is missing."""
    index = extended_index(NSIDE, margin)
    assert index.min() >= 0
    for way in index:
        vectors = directions(way)
        inner = slice(margin, -margin)
        across = vectors[:, inner, 1:] - vectors[:, inner, :-1]
        steps = np.linalg.norm(across, axis=-1)
        inside = np.linalg.norm(np.diff(directions(index[0][:, inner, inner]), axis=2), axis=-1)
        assert steps.max() < 1.5 * inside.max()
        assert steps.min() > 0.5 * inside.min()


def test_the_margin_holds_all_eight_neighbours_of_healpix():
    way = extended_index(NSIDE, 1)[0]
    ring = ring_index(NSIDE).ravel()
    for face, y, x in ((0, 0, 3), (1, 7, 2), (4, 3, 7), (5, 5, 0), (9, 0, 0), (6, 7, 7)):
        window = set(ring[way[face, y : y + 3, x : x + 3]].ravel())
        around = hp.get_all_neighbours(NSIDE, ring_index(NSIDE)[face, y, x])
        assert set(around[around >= 0]) <= window


def test_two_ways_differ_only_where_three_faces_meet():
    first, second = extended_index(NSIDE, 1)
    differ = np.argwhere(first != second)
    assert len(differ) == 24, "8 points, 3 faces at each"
    assert {(y, x) for _, y, x in differ} <= {(0, 0), (0, NSIDE + 1), (NSIDE + 1, 0), (NSIDE + 1, NSIDE + 1)}


def test_a_margin_wider_than_a_face_is_refused():
    with pytest.raises(ValueError, match="a margin of 9 pixels around faces of 8: at most 8"):
        extended_index(8, 9)


def quarter_turn(sky):
    """The sky turned by 90 degrees about the axis, an exact symmetry of the pixels."""
    theta, phi = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2))
    return sky[..., hp.ang2pix(NSIDE, theta, phi - np.pi / 2)]


@pytest.mark.parametrize(
    "build",
    [lambda: HealpixConv(2, 3, NSIDE), lambda: HealpixUNet(2, 3, NSIDE, (4, 6, 8))],
    ids=["conv", "unet"],
)
def test_layers_turn_with_the_sky(build):
    layer = seeded(build)
    sky = np.random.default_rng(2).standard_normal((2, 2, 12 * NSIDE**2))
    # float64: sums in another order
    assert apply(layer, quarter_turn(sky)) == pytest.approx(quarter_turn(apply(layer, sky)), abs=1e-12)


def half_turn(sky):
    """The sky turned by 180 degrees about an axis through the equator, where faces are turned over."""
    x, y, z = hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))
    return sky[..., hp.vec2pix(NSIDE, x, -y, -z)]


def test_a_kernel_that_is_turned_with_the_sky_gives_the_turned_result():
    layer, turned = (seeded(lambda: HealpixConv(1, 1, NSIDE)) for _ in range(2))
    with torch.no_grad():
        turned.conv.weight.copy_(layer.conv.weight.flip(-1, -2))
    sky = np.random.default_rng(3).standard_normal((1, 1, 12 * NSIDE**2))
    assert apply(turned, half_turn(sky)) == pytest.approx(half_turn(apply(layer, sky)), abs=1e-12)


def test_no_seam_shows_at_the_edges_of_faces():
    """Mean over 3 x 3 pixels of a smooth field: errors at the edges are those of the inside."""
    nside = 32
    x, y, z = hp.pix2vec(nside, np.arange(12 * nside**2))
    sky = (x + 2 * y * z + z**2)[None, None]
    layer = HealpixConv(1, 1, nside).double()
    with torch.no_grad():
        layer.conv.weight.fill_(1 / 9)
        layer.conv.bias.zero_()
    change = to_faces(apply(layer, sky)[0, 0] - sky[0, 0])
    edge = np.ones((nside, nside), dtype=bool)
    edge[1:-1, 1:-1] = False
    # curvature only: a padding by zeros gives 30 times as much
    assert np.abs(change[:, edge]).max() < 2 * np.abs(change[:, ~edge]).max()


def test_pooling_is_that_of_nested_children():
    sky = np.random.default_rng(4).standard_normal((1, 1, 12 * NSIDE**2))
    pooled = as_maps(torch.nn.functional.avg_pool2d(as_tensor(sky), 2))
    children = hp.reorder(sky[0, 0], r2n=True).reshape(-1, 4).mean(axis=1)
    assert pooled[0, 0] == pytest.approx(hp.reorder(children, n2r=True))


def test_gradients_pass_the_edges():
    x = torch.randn(12, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FacePadding(4), (x,), fast_mode=True)


def test_more_levels_than_pixels_are_refused():
    with pytest.raises(ValueError, match="5 levels are too many for nside 8: name fewer widths"):
        HealpixUNet(1, 1, 8, (2,) * 5)
