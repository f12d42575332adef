"""The ear: a caller's sound to words. Placeholder until the recogniser process."""

from typing import Protocol


class Hearing(Protocol):
    """What recognises speech; None from `recognise` means that nothing here can."""

    async def recognise(self, pcm: bytes, *, phrases: list[str]) -> str | None: ...


class Deaf:
    async def recognise(self, pcm: bytes, *, phrases: list[str]) -> str | None:
        return None
