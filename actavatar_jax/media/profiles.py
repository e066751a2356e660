"""Colour profiles (ICC) of pictures, applied by littleCMS."""

import io

from PIL import Image, ImageCms

from actavatar_jax.media.notes import warn_once
from actavatar_jax.storage import cut

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# The modes that a profile is for, by the name of its colour space in its header (ICC.1, table 19).
MODES = {"RGB": ("RGB", "RGBA"), "GRAY": ("L", "LA"), "CMYK": ("CMYK",)}


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """A picture of 8-bit values in sRGB, by the profile it carries; without one it stays as it is.

    What is transparent stays so. A profile that is broken or for other pictures is not applied, which is logged.
    """
    content = image.info.get("icc_profile")
    if not content:
        return image
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "LA") else "RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        space = profile.profile.xcolor_space.strip()
        if image.mode not in MODES.get(space, ()):
            raise ImageCms.PyCMSError(f"it is for {space}, the picture is {image.mode}")
        alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
        plain = image if alpha is None else image.convert(image.mode[:-1])
        converted = ImageCms.profileToProfile(plain, profile, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warn_once(f"{name}: its colour profile cannot be applied ({cut(str(error), 60)}); it is shown as sRGB")
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
