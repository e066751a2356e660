"""Colours: what was put into a video is what is seen, whatever matrix, range and transfer curve it was coded with."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_video, write_video
from actavatar_jax.media.colour import from_rgb

BLOCK = 16
KR_KB = {"BT.601": (0.299, 0.114), "BT.709": (0.2126, 0.0722), "BT.2020": (0.2627, 0.0593)}
CODES = {"BT.709": 1, "BT.601": 6, "BT.2020": 9}


def random_blocks(height, width, seed=0):
    """Blocks of one colour each, and their colours [n, 3]."""
    colours = np.random.default_rng(seed).integers(0, 256, (height // BLOCK, width // BLOCK, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((BLOCK, BLOCK, 1), np.uint8)), colours


def middles(image):
    return image[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].astype(int)


def to_yuv(rgb, matrix, full=False, depth=8):
    """Code values of [..., 3] in [0, 1] by the definition: ITU-R BT.601, BT.709, BT.2020."""
    kr, kb = KR_KB[matrix]
    y = rgb @ [kr, 1 - kr - kb, kb]
    chroma = np.stack([(rgb[..., 2] - y) / (2 - 2 * kb), (rgb[..., 0] - y) / (2 - 2 * kr)], -1)
    scale = 2 ** (depth - 8)
    y, chroma = (255 * y, 255 * chroma + 128) if full else (219 * y + 16, 224 * chroma + 128)
    return np.round(scale * np.concatenate([y[..., None], chroma], -1))


def store(path, planes, matrix=None, full=False, depth=8, curve=None, primaries=None, shared=(1, 1)):
    """A lossless video of one picture, of code values [h, w, 3]; `shared` rows and columns have one colour."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        height, width, _ = planes.shape
        form = {(1, 1): "yuv444p", (1, 2): "yuv422p", (2, 2): "yuv420p"}[shared]
        form = form if depth == 8 else f"{form}{depth}le"
        stream.width, stream.height, stream.pix_fmt = width, height, form
        frame = av.VideoFrame(width, height, form)
        chroma = planes[:: shared[0], :: shared[1]]
        for plane, values in zip(frame.planes, (planes[..., 0], chroma[..., 1], chroma[..., 2]), strict=True):
            line = np.zeros((len(values), plane.line_size), np.uint8)
            kind = np.uint8 if depth == 8 else np.dtype("<u2")
            packed = np.ascontiguousarray(values.astype(kind)).view(np.uint8)
            line[:, : packed.shape[1]] = packed
            plane.update(line.tobytes())
        for target in (frame, stream.codec_context):
            target.color_range = 2 if full else 1
            if matrix is not None:
                target.colorspace = matrix
            if curve is not None:
                target.color_trc, target.color_primaries = curve, primaries
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", KR_KB)
def test_random_colours_keep_their_mean(tmp_path, matrix, full):
    image, colours = random_blocks(512, 512)
    path = store(tmp_path / "x.mkv", to_yuv(image / 255, matrix, full), CODES[matrix], full)
    error = middles(load_video(path).frames[0]) - colours
    assert np.abs(error.mean((0, 1))).max() < 0.1
    assert np.abs(error).max() <= 3  # of 8 bits each, of which two channels of colour are a mixture


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((320, 512), "BT.601"), ((480, 848), "BT.601"), ((576, 720), "BT.601"), ((720, 1024), "BT.709"),
     ((720, 1280), "BT.709"), ((1280, 720), "BT.709"), ((848, 480), "BT.601"), ((1088, 1920), "BT.709")],
)  # fmt: skip
def test_what_names_no_matrix_has_that_of_its_size(tmp_path, size, matrix):
    image, colours = random_blocks(*size)
    path = store(tmp_path / "x.mkv", to_yuv(image / 255, matrix))
    error = middles(load_video(path).frames[0]) - colours[: size[0] // BLOCK, : size[1] // BLOCK]
    assert np.abs(error).max() <= 3


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_matrices_that_cannot_be_undone_are_refused(tmp_path, matrix):
    path = store(tmp_path / "x.mkv", np.full((64, 64, 3), 128), matrix)
    with pytest.raises(InputError, match=f"by matrix {matrix} of ITU-T H.273.*accepted are BT.601"):
        load_video(path)


def test_what_is_written_keeps_its_colours(tmp_path):
    """Through yuv420p and H.264 at the quality of `write_video`: random colours, and a gradient of all greys."""
    image, colours = random_blocks(512, 512)
    gradient = np.repeat(np.arange(256, dtype=np.uint8), 2)[None, :, None].repeat(512, 0).repeat(3, 2)
    write_video(tmp_path / "x.mp4", [image, image, image])
    write_video(tmp_path / "y.mp4", [gradient] * 3)
    error = middles(load_video(tmp_path / "x.mp4").frames[1]) - colours
    assert np.abs(error.mean((0, 1))).max() < 0.1
    error = load_video(tmp_path / "y.mp4").frames[1].astype(int) - gradient
    assert np.abs(error.mean((0, 1))).max() < 0.1
    assert np.abs(error).max() <= 2


def test_greys_are_exact_before_the_codec():
    greys = np.arange(256, dtype=np.uint8)[:, None, None, None].repeat(16, 1).repeat(16, 2).repeat(3, 3)
    luma = [from_rgb(grey).to_ndarray()[8, 8] for grey in greys]
    np.testing.assert_allclose(luma, 16 + 219 * np.arange(256) / 255, atol=0.51)


def test_whole_pictures_made_of_fields_keep_their_matrix(tmp_path):
    """Small ones that name BT.709, for which without a name BT.601 would be taken."""
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1", "crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = CODES["BT.709"], 1
        for number in range(5):
            frame = from_rgb(np.full((128, 192, 3), (200, 60, 40), np.uint8))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert next(container.decode(video=0)).interlaced_frame
    assert np.abs(load_video(tmp_path / "x.mp4").frames.astype(int) - (200, 60, 40)).max() <= 2


def srgb_to_linear(values):
    """IEC 61966-2-1."""
    x = values / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


BT709_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087


def pq(light):
    """ITU-R BT.2100: code of light in cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    y = (light / 10_000) ** m1
    return ((c1 + c2 * y) / (1 + c3 * y)) ** m2


def hlg(light):
    """ITU-R BT.2100: code of light in cd/m2 on a display of 1,000 cd/m2, whose system gamma is 1.2."""
    luminance = (light / 1000) @ [0.2627, 0.6780, 0.0593]
    scene = np.maximum(light / 1000, 0) * luminance[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


@pytest.mark.parametrize(("curve", "code"), [(pq, ColorTrc.SMPTE2084), (hlg, ColorTrc.ARIB_STD_B67)])
@pytest.mark.parametrize(("tagged", "shared"), [(True, (1, 1)), (False, (1, 1)), (True, (1, 2)), (True, (2, 2))])
def test_high_dynamic_range_is_mapped_to_what_srgb_shows(tmp_path, curve, code, tagged, shared):
    """Colours of sRGB whose white are 203 cd/m2, as ITU-R BT.2408 has it, come back."""
    image, colours = random_blocks(128, 512)
    image[:BLOCK, :BLOCK], colours[0, 0] = (200, 60, 40), (200, 60, 40)
    image[:BLOCK, BLOCK : 2 * BLOCK], colours[0, 1] = 255, 255
    light = 203 * srgb_to_linear(image) @ BT709_TO_BT2020.T
    planes = to_yuv(curve(light), "BT.2020", depth=10)
    matrix, primaries = (9, ColorPrimaries.BT2020) if tagged else (None, ColorPrimaries.UNSPECIFIED)
    path = store(tmp_path / "x.mkv", planes, matrix, depth=10, curve=code, primaries=primaries, shared=shared)
    error = middles(load_video(path).frames[0]) - colours
    assert np.abs(error[0, 0]).max() <= 3
    assert np.abs(error.mean((0, 1))).max() < 1
    assert np.abs(error).max() <= 12 and np.median(np.abs(error)) <= 1


P3_TO_BT709 = np.array([[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]])  # EG 432-1


@pytest.mark.parametrize(
    ("primaries", "inverse"),
    [(ColorPrimaries.BT2020, BT709_TO_BT2020), (ColorPrimaries.SMPTE432, np.linalg.inv(P3_TO_BT709))],
)
@pytest.mark.parametrize(("depth", "shared"), [(10, (1, 1)), (10, (2, 2)), (8, (2, 2))])
def test_a_wide_gamut_becomes_that_of_srgb(tmp_path, primaries, inverse, depth, shared):
    image, colours = random_blocks(128, 512)
    light = np.clip(srgb_to_linear(image) @ inverse.T, 0, 1)
    codes = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    planes = to_yuv(codes, "BT.709", depth=depth)
    how = {"depth": depth, "curve": ColorTrc.BT709, "primaries": primaries, "shared": shared}
    error = middles(load_video(store(tmp_path / "x.mkv", planes, 1, **how)).frames[0]) - colours
    assert np.abs(error.mean((0, 1))).max() < 0.3 and np.median(np.abs(error)) <= (0 if depth == 10 else 1)
    assert np.abs(image - 255 * codes).max() > 20  # which would be seen


def test_lights_above_white_are_white(tmp_path):
    planes = to_yuv(pq(np.full((64, 64, 3), 1000.0)), "BT.2020", depth=10)
    path = store(tmp_path / "x.mkv", planes, 9, depth=10, curve=ColorTrc.SMPTE2084, primaries=ColorPrimaries.BT2020)
    assert load_video(path).frames.min() >= 250
