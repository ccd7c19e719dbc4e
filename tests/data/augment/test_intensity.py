from dataclasses import fields

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from decaseg.data.augment.axiswise import apply_along_axes, blur_matrix, low_resolution_matrix
from decaseg.data.augment.intensity import Intensity, IntensityDraw, apply_intensity, draw_intensity

CHANGES = ("noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma")


def batch(shape=(9, 9, 9), size=2, channels=2):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((size, channels, *shape), generator=generator) + 0.5
    label = torch.randint(0, 4, (size, *shape), generator=generator, dtype=torch.uint8)
    return image, label


def drawn(channels=1, **values) -> IntensityDraw:
    """One sample's draw that holds only the values given."""
    nothing = torch.full((1, channels), torch.nan)
    draw = dict.fromkeys(("brightness", "contrast", "low_resolution", "inverted_gamma", "gamma"), nothing)
    draw |= {"noise_std": nothing[:, 0], "blur_sigma": nothing[..., None].repeat(1, 1, 3)}
    return IntensityDraw(**(draw | {"noise_seed": torch.tensor([5])} | {k: torch.tensor(v) for k, v in values.items()}))


def one_image(shape=(9, 12, 7)) -> torch.Tensor:
    return torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("change", CHANGES)
def test_each_intensity_change_changes_all_its_samples_and_stays_finite(change):
    shares = {f"{name}_share": 0.0 for name in CHANGES}
    what = Intensity(**{**shares, f"{change}_share": 1.0}, low_resolution=(0.5, 0.8), channel_share=1.0)
    image, _ = batch((12, 10, 8))
    changed = apply_intensity(draw_intensity(what, 2, 2, torch.Generator().manual_seed(2)), image.clone())
    assert changed.isfinite().all() and changed.shape == image.shape
    assert all(not torch.equal(a, b) for a, b in zip(changed, image, strict=True))
    untouched = apply_intensity(draw_intensity(Intensity(**shares), 2, 2, torch.Generator()), image.clone())
    assert torch.equal(untouched, image)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_patch_stays_finite(value):
    everything = Intensity().times(100)
    image = torch.full((2, 1, 8, 8, 8), value)
    assert apply_intensity(draw_intensity(everything, 2, 1, torch.Generator()), image).isfinite().all()


@pytest.mark.parametrize("sigmas", [(0.5, 0.7, 1.0), (1.0, 3.0, 0.6)])
def test_blur_is_scipys(sigmas):
    image = one_image()
    expected = scipy.ndimage.gaussian_filter(image[0, 0].numpy(), sigmas, mode="nearest", truncate=4)
    blurred = apply_intensity(drawn(blur_sigma=[[sigmas]]), image.clone())
    np.testing.assert_allclose(blurred[0, 0].numpy(), expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 20)] * 3), zoom=st.floats(0.1, 1))
def test_low_resolution_is_nearest_down_and_linear_up(shape, zoom):
    image = one_image(shape)
    zoom = torch.tensor(zoom, dtype=torch.float32).item()  # as it is drawn: 15 * 0.9 is 13.5, 15 * float32(0.9) less
    small = functional.interpolate(image, [max(1, round(n * zoom)) for n in shape], mode="nearest-exact")
    expected = functional.interpolate(small, shape, mode="trilinear", align_corners=False)
    torch.testing.assert_close(
        apply_intensity(drawn(low_resolution=[[zoom]]), image.clone()), expected, atol=1e-4, rtol=0
    )


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), sigma=st.floats(0.3, 3), zoom=st.floats(0.2, 1))
def test_matrices_keep_a_constant(n, sigma, zoom):
    for matrix in (blur_matrix(n, sigma), low_resolution_matrix(n, zoom)):
        torch.testing.assert_close(matrix.sum(1), torch.ones(n), atol=1e-5, rtol=0)
        assert (matrix >= 0).all()


def test_each_axis_gets_its_own_matrix():
    volume = torch.rand(3, 4, 5, dtype=torch.float64)
    matrices = [torch.rand(n, n, dtype=torch.float64) for n in volume.shape]
    expected = torch.einsum("xyz,ax,by,cz->abc", volume, *matrices)
    apply_along_axes(volume, matrices)
    torch.testing.assert_close(volume, expected)


def test_brightness_and_contrast_are_their_definitions():
    image = one_image()
    torch.testing.assert_close(apply_intensity(drawn(brightness=[[1.2]]), image.clone()), image * 1.2)
    for factor in (0.8, 1.25):
        expected = ((image - image.mean()) * factor + image.mean()).clamp(image.min(), image.max())
        torch.testing.assert_close(apply_intensity(drawn(contrast=[[factor]]), image.clone()), expected)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("gamma", [0.7, 1.4])
def test_gamma_is_its_definition_in_float64_and_keeps_mean_and_deviation(gamma, inverted):
    image = one_image((20, 30, 40))
    name = "inverted_gamma" if inverted else "gamma"
    changed = apply_intensity(drawn(**{name: [[gamma]]}), image.clone()).double()
    x = image.double() * (-1 if inverted else 1)
    raised = ((x - x.min()) / (x.max() - x.min())) ** gamma
    expected = ((raised - raised.mean()) / raised.std() * x.std() + x.mean()) * (-1 if inverted else 1)
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=0)
    assert float(changed.mean()) == pytest.approx(float(image.mean()), abs=1e-4)
    assert float(changed.std()) == pytest.approx(float(image.std()), rel=1e-4)


def test_noise_is_normal_of_its_deviation_and_a_function_of_its_seed():
    image = torch.zeros(1, 2, 40, 40, 40)
    noise = apply_intensity(drawn(2, noise_std=[0.25]), image.clone())
    assert scipy.stats.kstest(noise.flatten().numpy() / 0.25, "norm").pvalue > 0.01
    assert abs(float((noise[0, 0] * noise[0, 1]).mean())) < 4 * 0.25**2 / 40**1.5  # channels are independent
    assert torch.equal(noise, apply_intensity(drawn(2, noise_std=[0.25]), image.clone()))
    assert not torch.equal(noise, apply_intensity(drawn(2, noise_std=[0.25], noise_seed=[6]), image.clone()))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 4))
def test_a_batch_is_its_samples(seed, size):
    image, _ = batch((7, 8, 6), size)
    draw = draw_intensity(Intensity().times(2.5), size, 2, torch.Generator().manual_seed(seed))
    whole = apply_intensity(draw, image.clone())
    for row in range(size):
        alone = IntensityDraw(*(getattr(draw, f.name)[row : row + 1] for f in fields(draw)))
        assert torch.equal(whole[row], apply_intensity(alone, image[row : row + 1].clone())[0])


def test_shares_and_ranges_are_those_asked_for():
    draw = draw_intensity(Intensity(), 4000, 2, torch.Generator().manual_seed(0))
    shares = {"noise_std": 0.1, "blur_sigma": 0.1, "brightness": 0.15, "contrast": 0.15, "low_resolution": 0.125,
              "inverted_gamma": 0.1, "gamma": 0.3}  # fmt: skip
    for name, share in shares.items():
        values = getattr(draw, name)
        assert float((~values.isnan()).float().mean()) == pytest.approx(share, abs=0.02), name
    gamma = draw.gamma[~draw.gamma.isnan()]
    assert (
        gamma.min() >= 0.7 and gamma.max() <= 1.5 and float((gamma < 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    )
    assert draw.noise_std.nan_to_num(0).max() <= 0.1
    changed = ~draw.contrast.isnan()
    assert torch.equal(changed[:, 0], changed[:, 1])  # all channels of a sample, each by another factor
    assert (draw.contrast[:, 0] != draw.contrast[:, 1]).all()


def test_strength_multiplies_shares():
    strong = Intensity().times(4)
    assert (strong.noise_share, strong.gamma_share, strong.channel_share) == (0.4, 1.0, 0.5)
    image, _ = batch()
    never = draw_intensity(Intensity().times(0), 2, 2, torch.Generator())
    assert torch.equal(apply_intensity(never, image.clone()), image)
    with pytest.raises(ValueError, match="intensity_strength=-1"):
        Intensity().times(-1)
