"""Images that stay for a while, so that several jobs can be made of one upload (3D Slicer's sessions)."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from decaseg.serving.intake import Upload
from decaseg.serving.limits import Limits
from decaseg.serving.spool import Spool


@dataclass
class Session:
    """A checked upload. `uses` jobs read it now: it is not removed under them."""

    upload: Upload
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    touched: float = field(default_factory=time.monotonic)
    uses: int = 0


class Sessions:
    """At most `kept` of them, each for `kept_s` after it was last used; the oldest makes room."""

    def __init__(self, spool: Spool, limits: Limits) -> None:
        self.spool, self.limits = spool, limits
        self._found: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, upload: Upload, name: str | None = None) -> Session:
        """A new session; one of the same `name` (a client's own word for the image) is replaced."""
        self.forget_old(room=1)
        session = Session(upload) if name is None else Session(upload, name)
        self.remove(session.id)
        self._found[session.id] = session
        return session

    def get(self, session_id: str) -> Session | None:
        self.forget_old()
        session = self._found.get(session_id)
        if session is not None:
            session.touched = time.monotonic()
        return session

    def remove(self, session_id: str) -> bool:
        """Whether there was one; its image goes when no job reads it any more."""
        session = self._found.pop(session_id, None)
        if session is not None and not session.uses:
            self.spool.remove(session.upload.folder)
        return session is not None

    def release(self, session: Session) -> None:
        """A job has read it."""
        session.uses -= 1
        if not session.uses and self._found.get(session.id) is not session:
            self.spool.remove(session.upload.folder)

    def forget_old(self, room: int = 0) -> None:
        oldest = sorted(self._found.values(), key=lambda session: session.touched)
        for number, session in enumerate(oldest):
            too_many = number < len(oldest) + room - self.limits.kept
            if too_many or session.touched < time.monotonic() - self.limits.kept_s:
                self.remove(session.id)
