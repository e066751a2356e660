"""Small pictures for web pages, inside the page itself: histograms and timelines as SVG, thumbnails as JPEG."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

BINS = 24
WIDTH, HEIGHT = 240, 60  # pixels
LANE = 16  # pixels of a row of the timeline

Phase = tuple[float, float, str]  # start, end (seconds), what happens


def draw_histogram(values: Sequence[float | int]) -> Markup:
    """Bars from the smallest to the largest value, which are written below, and a line at the median."""
    counts, edges = np.histogram(np.asarray(values, float), BINS)
    low, high = edges[0], edges[-1]
    step, tallest = WIDTH / BINS, counts.max()
    bars = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            i * step, HEIGHT * (1 - count / tallest), step - 1, HEIGHT * count / tallest
        )
        for i, count in enumerate(counts)
        if count
    )
    median = float(np.median(values))
    line = Markup('<line class="median" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>').format(
        WIDTH * (median - low) / (high - low), HEIGHT
    )
    text = Markup('<text x="{}" y="{}" text-anchor="{}">{:.4g}</text>')
    ends = text.format(0, HEIGHT + 12, "start", min(values)) + text.format(WIDTH, HEIGHT + 12, "end", max(values))
    middle = text.format(WIDTH / 2, HEIGHT + 12, "middle", median)
    return _svg(HEIGHT + 16, bars + line + ends + middle, f"from {min(values):.4g} to {max(values):.4g}")


def draw_timeline(phases: Sequence[Phase], seconds: float, profile: Sequence[float | None] = ()) -> Markup:
    """Numbered windows on a time axis, in lanes without overlaps; above it the profile of movement, if there is one.

    `profile` holds values at equal steps over the whole time, None where nothing was seen.
    """
    above = 24 if any(value is not None for value in profile) else 0
    parts = [_curve(profile, above)] if above else []
    lanes: list[float] = []  # where each ends
    for number, (start, end, action) in enumerate(phases, start=1):
        lane = next((i for i, last in enumerate(lanes) if last <= start), len(lanes))
        lanes[lane : lane + 1] = [end]
        x, width = WIDTH * start / seconds, max(WIDTH * (end - start) / seconds, 2)
        y = above + lane * LANE
        parts.append(
            Markup(
                '<rect class="phase" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="3"><title>{}</title></rect>'
                '<text class="number" x="{:.1f}" y="{}" text-anchor="middle">{}</text>'
            ).format(x, y, width, LANE - 2, action, x + width / 2, y + LANE - 5, number)
        )
    base = above + max(len(lanes), 1) * LANE
    axis = Markup('<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>').format(WIDTH, base, base)
    text = Markup('<text x="{}" y="{}" text-anchor="{}">{:.4g} s</text>')
    ends = text.format(0, base + 12, "start", 0) + text.format(WIDTH, base + 12, "end", seconds)
    return _svg(base + 16, Markup("").join(parts) + axis + ends, f"{len(phases)} actions in {seconds:.4g} s")


def encode_thumbnail(image: UInt8[np.ndarray, "h w 3"], height: int = 120) -> str:
    """A picture as a data URI, `height` pixels high."""
    picture = Image.fromarray(image)
    picture = picture.resize((max(1, round(picture.width * height / picture.height)), height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _curve(profile: Sequence[float | None], height: int) -> Markup:
    top = max(value for value in profile if value is not None) or 1
    step = WIDTH / len(profile)
    points = [
        f"{(i + 0.5) * step:.1f},{height - (height - 2) * v / top:.1f}" for i, v in enumerate(profile) if v is not None
    ]
    return Markup('<polyline class="curve" points="{}"/>').format(" ".join(points))


def _svg(height: int, content: Markup, label: str) -> Markup:
    return Markup('<svg role="img" aria-label="{}" width="{}" height="{}">{}</svg>').format(
        label, WIDTH, height, content
    )
