"""Several servers of one model: who asks has one of them in turn, and another one where that falls silent."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from actavatar_jax.chat.attempts import NOT_ASKED, Client, Message, SilentError
from actavatar_jax.chat.completions import Answer
from actavatar_jax.chat.servers import Server
from actavatar_jax.errors import InputError, Skip

log = logging.getLogger(__name__)


class ChatPool:
    """Clients of servers that answer alike; may be used by many threads at once.

    Raises InputError for servers that are asked differently: answers would depend on whose turn it was.
    """

    def __init__(self, clients: Sequence[Client]):
        self.clients, self._silent = tuple(clients), set[Client]()
        first, *others = (client.server for client in self.clients)
        for other in others:
            for name in ("model", "seed", "temperature", "audio_part"):
                one, two = getattr(first, name), getattr(other, name)
                if one != two:
                    raise InputError(
                        f"{first.address} is asked with the {name} {one} and {other.address} with {two}; "
                        "several servers must be asked alike"
                    )

    def server(self, turn: int) -> Server:
        """The one that is asked first in this turn, counted from 0."""
        return self.clients[turn % len(self.clients)].server

    def ask(self, turn: int, messages: Sequence[Message], schema: Mapping[str, Any]) -> tuple[Answer, Server]:
        """As `Client.ask` of the server whose turn it is, and who has answered.

        A server that has fallen silent is not asked again, and the next one in its place, as in that of a server that
        has refused every request so far; what is raised of the last one ends it.
        """
        start = turn % len(self.clients)
        order = self.clients[start:] + self.clients[:start]
        asked = [client for client in order if client not in self._silent]
        for client in asked or order[-1:]:
            try:
                return client.ask(messages, schema), client.server
            except SilentError as error:
                self._silent.add(client)
                trouble = error
                if len(self._silent) < len(self.clients):
                    log.warning("%s is given up, the others go on: %s", client.server.address, error)
            except Skip as skip:
                if skip.reason != NOT_ASKED:
                    raise
                trouble = skip
        raise trouble
