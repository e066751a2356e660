"""Whole pictures in the place of two fields, as television and old cameras store them."""

from collections import deque
from collections.abc import Iterable, Iterator

import av


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, bool]]:
    """As many frames at the same times, of whole pictures in the place of two fields, and whether they were fields.

    Frames before the first interlaced one, and between and behind those, stay as they are.
    """
    graph, form, pushed = None, None, deque()
    for frame in frames:
        if graph is not None and form != (frame.format.name, frame.width, frame.height):
            yield from _filtered(graph, None, pushed)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, form = _deinterlacer(frame), (frame.format.name, frame.width, frame.height)
        if graph is None:
            yield frame, False
        else:
            pushed.append(frame.interlaced_frame)
            yield from _filtered(graph, frame, pushed)
    if graph is not None:
        yield from _filtered(graph, None, pushed)


def _deinterlacer(frame: av.VideoFrame) -> av.filter.Graph:
    """For frames like this one. It sees the next frame before it gives one back."""
    graph = av.filter.Graph()
    form = {"width": frame.width, "height": frame.height, "format": frame.format, "time_base": frame.time_base}
    graph.link_nodes(
        graph.add_buffer(**form), graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph


def _filtered(
    graph: av.filter.Graph, frame: av.VideoFrame | None, pushed: deque[bool]
) -> Iterator[tuple[av.VideoFrame, bool]]:
    """What the graph gives back for this frame, or at the end (None)."""
    graph.push(frame)
    while pushed:
        try:
            yield graph.pull(), pushed.popleft()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
