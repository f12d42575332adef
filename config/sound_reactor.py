"""Twisted's reactor on asyncio's loop, made lean for sound: a socket is read past the context of Twisted's log.

Twisted makes one for each read, which takes as long as the read itself, and nothing here asks for it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor


class SoundReactor(AsyncioSelectorReactor):
    def addReader(self, reader: Any) -> None:
        super().addReader(reader)  # type: ignore[no-untyped-call]
        if (descriptor := self._readers.get(reader)) is not None:
            self._asyncioEventloop.add_reader(descriptor, self._readOrWrite, reader, True)
