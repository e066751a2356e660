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

    It may be changed in place. What is transparent stays so. A profile that is broken or for other pictures is not
    applied, which is logged.
    """
    content = image.info.get("icc_profile")
    if not content:
        return image
    if image.has_transparency_data and image.mode != "LA":
        image = image if image.mode == "RGBA" else image.convert("LA" if image.mode == "L" else "RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        space = profile.profile.xcolor_space.strip()
        if image.mode not in MODES.get(space, ()):
            raise ImageCms.PyCMSError(f"it is for {space}, the picture is {image.mode}")
        if image.mode in ("RGB", "RGBA"):  # large pictures are not held twice
            ImageCms.profileToProfile(image, profile, SRGB, inPlace=True)
            return image
        plain = image.getchannel("L") if image.mode == "LA" else image
        converted = ImageCms.profileToProfile(plain, profile, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        warn_once(f"{name}: its colour profile cannot be applied ({cut(str(error), 60)}); it is shown as sRGB")
        return image
    if image.mode == "LA":
        converted.putalpha(image.getchannel("A"))
    return converted
