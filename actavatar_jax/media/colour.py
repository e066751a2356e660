"""From the colours of decoded pictures to 8-bit sRGB, and back to those of the videos that are written."""

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.light import WIDE, map_to_srgb

# Without the last three FFmpeg takes shortcuts, which darken pictures by a level. Colours, of which yuv420p has one for
# four pixels, are interpolated when read and averaged when written.
EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
READING, WRITING = Interpolation.BILINEAR | EXACT, Interpolation.AREA | EXACT
UNSPECIFIED = 2  # as a matrix
# Matrices by their number in ITU-T H.273; 0 is none, that of pictures stored as RGB.
MATRICES = {
    0: None,
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
HIGH_DYNAMIC_RANGE = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67  # PQ and HLG of ITU-R BT.2100


class ColourConverter:
    """Converts the frames of one stream; what it computes for one serves the next."""

    def __init__(self, name: str):
        self.name, self._reformatter = name, VideoReformatter()

    def to_rgb(self, frame: av.VideoFrame, width: int) -> UInt8[np.ndarray, "H W 3"]:
        """sRGB of a frame, brought to `width` pixels in a row.

        A picture that does not name its matrix has that of BT.709 if it is of high definition, else that of BT.601.
        High dynamic range and wide gamuts are mapped to sRGB, see `light`. InputError for a matrix that FFmpeg does not
        convert.
        """
        bright = frame.color_trc in HIGH_DYNAMIC_RANGE
        unnamed = bright and frame.color_primaries == ColorPrimaries.UNSPECIFIED
        primaries = ColorPrimaries.BT2020 if unnamed else frame.color_primaries
        mapped = bright or primaries in WIDE
        # To rgb48le FFmpeg 9 makes nonsense of ten bits with fewer colours than pixels.
        form, matrix = "gbrp16le" if mapped else "rgb24", self._matrix(frame, bright)
        try:
            converted = self._reformatter.reformat(frame, width, None, form, matrix, interpolation=READING)
        except av.FFmpegError as error:
            known = "accepted is what FFmpeg converts to RGB"
            raise InputError(f"Video {self.name} has pictures of the form {frame.format.name}; {known}.") from error
        image = converted.to_ndarray()
        return map_to_srgb(image, frame.color_trc, primaries) if mapped else image

    def _matrix(self, frame: av.VideoFrame, bright: bool) -> Colorspace | None:
        if frame.colorspace in MATRICES:
            return MATRICES[frame.colorspace]
        if frame.colorspace != UNSPECIFIED:
            accepted = "BT.601, BT.709, BT.2020, FCC, SMPTE 240M"
            raise InputError(
                f"Video {self.name} codes its colours by matrix {frame.colorspace} of ITU-T H.273, such as ICtCp of "
                f"Dolby Vision; accepted are {accepted}."
            )
        if bright:
            return Colorspace.BT2020
        high = min(frame.width, frame.height) > 576 or max(frame.width, frame.height) >= 1280
        return Colorspace.ITU709 if high else Colorspace.ITU601


def from_rgb(image: UInt8[np.ndarray, "h w 3"]) -> av.VideoFrame:
    """A frame in the colours of BT.709 in limited range, a quarter of them (yuv420p)."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=WRITING
    )
