"""Failures among jobs: what is said of each, whether all processes have it, and whether there is sense in going on."""

import itertools
import logging
import sys

import jax
from tqdm import tqdm

from actavatar_jax.errors import InputError, OtherProcessError, first_line, out_of_space
from actavatar_jax.parallel import all_arrive, on_all_hosts, on_each_host

MOST_ALIKE = 3  # failures in a row of a kind that is not wrong input
PATIENCE = 60.0  # seconds in which all processes have a failure that they have alike

log = logging.getLogger(__name__)

_numbers = itertools.count()  # of failures of this process, which are those of the others


class Failures:
    """Of the jobs of one call. Over several processes each of them tells alike what went well and what failed."""

    def __init__(self):
        self.count = self.alike = 0  # in all; in a row and of the last one's kind, wrong input not counted
        self.full = False  # the disk
        self.kind = ""
        self.traced: set[str] = set()

    def end_row(self) -> None:
        """A job went well."""
        self.alike, self.kind = 0, ""

    def add(self, name: str, error: Exception) -> None:
        """Says in one line why the job of this name failed, and with a stack trace once for each class of errors.

        Raises the error where other processes do not have one: they wait for this one, in a collective.
        """
        if not all_arrive(f"failure {next(_numbers)}", PATIENCE):
            raise error
        # Where processes differ, the first that knows of more than wrong input says what it was.
        kind = next(filter(None, on_each_host(_kind(error))), "")
        self.count += 1
        self.alike = 0 if not kind else self.alike + 1 if kind == self.kind else 1
        self.kind = kind
        self.full |= out_of_space(error)
        _say(f"{name}: {first_line(error)}")
        if (own := _kind(error)) and own not in self.traced:
            self.traced.add(own)
            log.warning("Where the first %s comes from:", own, exc_info=error)

    def give_up(self, left: int) -> bool:
        """Whether the jobs which are left are better not tried; says so."""
        if not left:
            return False
        if not on_all_hosts(not self.full):
            _say(f"The disk is full: the jobs that are left ({left}) are not tried.")
            return True
        if self.alike < MOST_ALIKE:
            return False
        _say(
            f"{self.alike} videos in a row failed with {self.kind}, so the device may be lost: the jobs that are left "
            f"({left}) are not tried."
        )
        return True


def _kind(error: Exception) -> str:
    """Its class; nothing for wrong input, and for what another process knows better."""
    return "" if isinstance(error, InputError | OtherProcessError) else type(error).__name__


def _say(problem: str) -> None:
    """Once, and not behind a progress bar."""
    if jax.process_index() == 0:
        tqdm.write(f"error: {problem}", file=sys.stderr)
