"""CSIM: faces put in place, and cosines of what a tiny network sees in them; frames without a face are counted."""

import sys

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation import IdentityScore, csim, open_yunet
from actavatar_jax.evaluation.faces import TEMPLATE, align_face, marks_of_largest, open_embedder, similarity
from actavatar_jax.onnx_files import load_model

SIZE = 160


def placed(angle=0.4, scale=1.1, shift=(30, 20)):
    """The template's marks, turned by `angle`, scaled and moved."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * TEMPLATE @ turn.T + shift


# ---- marks and faces


def umeyama(source, target):
    """Source: Umeyama, IEEE PAMI 13 (1991), by singular values; a matrix [2, 3]."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    u, values, v = np.linalg.svd(b.T @ a / len(a))
    signs = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    turn = u @ np.diag(signs) @ v * (values * signs).sum() / a.var(axis=0).sum()
    return np.column_stack([turn, target.mean(axis=0) - turn @ source.mean(axis=0)])


def as_matrix(turn, shift):
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def test_similarity_is_the_nearest_without_shearing():
    """Exact where there is an exact one, the least squares of Umeyama elsewhere; a mirrored face is not turned over."""
    found = as_matrix(*similarity(placed(), TEMPLATE))
    np.testing.assert_allclose(found @ np.column_stack([placed(), np.ones(5)]).T, TEMPLATE.T, atol=1e-9)
    rough = placed() + np.random.default_rng(0).normal(0, 4, (5, 2))
    np.testing.assert_allclose(as_matrix(*similarity(rough, TEMPLATE)), umeyama(rough, TEMPLATE), atol=1e-9)
    with pytest.raises(InputError, match="Five marks of a face lie in one point"):
        similarity(np.ones((5, 2)), TEMPLATE)


def test_a_face_is_put_in_place_as_opencv_does_it():
    """But for OpenCV's rounding of places to 1/32 pixel, which a smooth picture hardly shows."""
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[:SIZE, :SIZE]
    frame = np.stack([x, y, 127 + 100 * np.sin(x / 20) * np.cos(y / 15)], axis=-1).astype(np.uint8)
    face = align_face(frame, placed())
    matrix = as_matrix(*similarity(placed(), TEMPLATE))
    want = cv2.warpAffine(frame, matrix, (112, 112))
    inside = cv2.warpAffine(np.full((SIZE, SIZE), 255, np.uint8), matrix, (112, 112)) == 255
    assert 0.6 < inside.mean() < 1  # some of it lies outside the frame
    assert np.abs(face.astype(int) - want)[inside].max() <= 3
    assert face[0, -1].max() == 0 or inside[0, -1]
    untouched = align_face(frame, TEMPLATE)
    np.testing.assert_array_equal(untouched, frame[:112, :112])


# ---- the network


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    """The path of a network whose embedding is the mean of each colour, in ArcFace's form."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return save_network(onnx, tmp_path_factory.mktemp("faces") / "embedder.onnx", 112)


def save_network(onnx, path, side):
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["face"], ["mean"]),
        onnx.helper.make_node("Flatten", ["mean"], ["embedding"]),
    ]
    kind = onnx.TensorProto.FLOAT
    face = onnx.helper.make_tensor_value_info("face", kind, ["N", 3, side, side])
    embedding = onnx.helper.make_tensor_value_info("embedding", kind, ["N", 3])
    graph = onnx.helper.make_graph(nodes, "embedder", [face], [embedding])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def test_the_network_is_given_rgb_around_zero(embedder):
    face = np.zeros((112, 112, 3), np.uint8) + np.array([255, 0, 191], np.uint8)
    np.testing.assert_allclose(open_embedder(embedder)(face), [1, -1, (191 - 127.5) / 127.5], atol=1e-5)


def picture(red, green=0, blue=0):
    """Of one colour; its top left pixel says whether there is a face."""
    frame = np.full((SIZE, SIZE, 3), (red, green, blue), np.uint8)
    frame[0, 0] = 255
    return frame


def no_face():
    return np.zeros((SIZE, SIZE, 3), np.uint8)


def find_marks(frame):
    return TEMPLATE + 20 if frame[0, 0, 0] else None


def cosine(a, b):
    a, b = (np.array(colour) - 127.5 for colour in (a, b))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_csim_is_the_mean_over_frames_with_a_face(embedder):
    colours = [(250, 10, 10), (200, 100, 10), (10, 250, 10)]
    videos = [[picture(*colours[0]), picture(*colours[1]), no_face()], [no_face(), picture(*colours[2])]]
    found = csim([picture(*colours[0])] * 2, videos, embedder, find_marks)
    cosines = [cosine(colours[0], colour) for colour in colours]
    assert found.value == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.lowest == pytest.approx(np.percentile(cosines, 5), abs=1e-5)
    assert (found.coverage, found.frames, found.videos, found.backbone) == (0.6, 3, 2, "embedder.onnx")
    assert found.interval == pytest.approx((cosines[2], np.mean(cosines[:2])), abs=1e-5)
    told = f"3 frames of 2 videos | embedder.onnx | 5th percentile {found.lowest:.4g}, coverage 60.0%"
    assert found.line().endswith(told)


def test_without_any_face_there_is_no_number_but_a_coverage(embedder):
    found = csim([picture(9)], [[no_face(), no_face()]], embedder, find_marks)
    assert isinstance(found, IdentityScore) and np.isnan(found.value) and np.isnan(found.lowest)
    assert (found.coverage, found.frames, found.interval) == (0, 0, None)
    assert found.line().startswith("CSIM none | 0 frames of 1 video ")


def test_what_csim_refuses(embedder, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    videos = [[picture(9)]]
    with pytest.raises(InputError, match=r"CSIM is not available: it needs w600k_r50\.onnx, .*; no path to it"):
        csim([picture(9)], videos, None, find_marks)
    with pytest.raises(InputError, match="Reference 0 has no face that was found"):
        csim([no_face()], videos, embedder, find_marks)
    with pytest.raises(InputError, match="Got 2 references of 1 videos; accepted is one of each video"):
        csim([picture(9)] * 2, videos, embedder, find_marks)
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x09nothing")
    with pytest.raises(InputError, match=r"broken\.onnx: not an ONNX model that can be run"):
        csim([picture(9)], videos, tmp_path / "broken.onnx", find_marks)
    other = save_network(onnx, tmp_path / "other.onnx", 64)
    with pytest.raises(
        InputError, match=r"other\.onnx: it takes \[any, 3, 64, 64\]; .*\[any, 3, 112, 112\]: a network of faces"
    ):
        csim([picture(9)], videos, other, find_marks)
    load_model.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"this needs onnxruntime: pip install .actavatar-jax\[data\]. or .\[eval\]"):
        csim([picture(9)], videos, embedder, find_marks)


def test_the_largest_face_counts():
    boxes = [(0, 0, 30, 9), (5, 5, 20, 20), (9, 9, 3, 3)]
    rows = np.array([[*box, *(number + np.arange(10)), 0.9] for number, box in enumerate(boxes)])
    np.testing.assert_array_equal(marks_of_largest(rows), 1 + np.arange(10).reshape(5, 2))


def test_yunet_gives_the_marks_of_a_face(tmp_path):
    """The tests' YuNet sees one face of 128 pixels in the middle of every picture, which looks ahead."""
    pytest.importorskip("cv2")
    onnx = pytest.importorskip("onnx")
    from tests.data.full_models.yunet import face

    onnx.save(face(), tmp_path / "yunet.onnx")
    marks = open_yunet(tmp_path / "yunet.onnx")(np.zeros((480, 640, 3), np.uint8))
    np.testing.assert_allclose(marks, (320, 256) + (TEMPLATE - 56) * 128 / 112, atol=1e-3)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"broken\.onnx is broken, or another model; accepted is a YuNet"):
        open_yunet(tmp_path / "broken.onnx")
    with pytest.raises(InputError, match=r"Finding faces is not available: it needs face.onnx"):
        open_yunet(None)
