"""Web pages from templates: whatever is put into them is escaped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import write_text


def check_templates() -> None:
    """InputError where no page can be written: before hours of work, not behind them."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise InputError('A page needs jinja2: pip install "actavatar-jax[eval]".') from error


def write_page(template: Path, contents: Mapping[str, Any], path: Path) -> None:
    import jinja2

    source = template.read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    write_text(path, page.render(contents))
