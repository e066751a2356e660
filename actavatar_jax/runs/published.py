"""Whether a folder of published networks is what filters and metrics need, told before a long run asks for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import OPENINGS
from actavatar_jax.published import Remark, compare_files, try_openings
from actavatar_jax.storage import named
from data_pipelines.filters import NEEDED, make_steps


@dataclass(frozen=True)
class PublishedReport:
    """What is to be said of each file, filter and metric."""

    files: Mapping[str, Remark]
    filters: Mapping[str, Remark]
    metrics: Mapping[str, Remark]

    @property
    def refused(self) -> list[str]:
        """The filters and metrics whose files are there, and are not what they accept."""
        return [name for name, remark in {**self.filters, **self.metrics}.items() if remark.refused]

    def table(self) -> str:
        lines = []
        for title, remarks in (("files", self.files), ("filters", self.filters), ("metrics", self.metrics)):
            lines += [title, *(f"  {name:36} {remark.words}" for name, remark in remarks.items())]
        return "\n".join(lines)


def check_published(folder: Path) -> PublishedReport:
    """Compares the files of a folder with those that are known, and opens each filter and metric that stands on some.

    Raises:
      InputError: there is no such folder, or a file of it cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{named(folder)} is no folder; accepted is one of published networks.")
    filters = {name: (files, partial(make_steps, [name])) for name, files in NEEDED.items()}
    return PublishedReport(compare_files(folder), try_openings(folder, filters), try_openings(folder, OPENINGS))
