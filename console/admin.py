"""Who may change something: people who know the admin key, for the time of a session, from a page of this console."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from workflows.core.errors import ServingError

__all__ = ["COOKIE", "KEY_VARIABLE", "Admin", "Refused", "Session", "key_of", "set_cookie"]

KEY_VARIABLE = "CASCADE_CONSOLE_KEY"
COOKIE = "cascade-console"
SHORTEST_KEY, LONGEST_KEY = 16, 4096
SESSION_S = 8 * 3600
MOST_SESSIONS = 100
# Wrong keys are answered one after the other, so that they cannot be tried by the million.
WRONG_KEY_S = 0.5


class Refused(Exception):
    """A change that is not made: a sentence, with its HTTP status.

    Args:
        sentence: what a page says.
        status: of the answer.
    """

    def __init__(self, sentence: str, status: int = 403) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class Session:
    """Somebody who has given the key.

    Attributes:
        csrf: what every form of a page has, and no other site knows.
        ends_at: by `time.monotonic`.
        said: what the next page says of the last change.
    """

    csrf: str
    ends_at: float
    said: str = ""


@dataclass
class Admin:
    """The sessions of one console.

    Attributes:
        key: that is asked for.
    """

    key: str
    _sessions: dict[str, Session] = field(default_factory=dict)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def sign_in(self, key: str) -> str:
        """The name of a new session.

        Raises:
            Refused: it is another key.
        """
        if not hmac.compare_digest(_digest(key), _digest(self.key)):
            with self._one_at_a_time:
                time.sleep(WRONG_KEY_S)
            raise Refused("this is not the admin key that the console was started with")
        name = secrets.token_urlsafe(32)
        with self._one_at_a_time:
            now = time.monotonic()
            kept = [(each, session) for each, session in self._sessions.items() if session.ends_at > now]
            self._sessions = dict(kept[-MOST_SESSIONS + 1 :])
            self._sessions[name] = Session(secrets.token_urlsafe(32), now + SESSION_S)
        return name

    def sign_out(self, request: Request) -> None:
        """End the session of a request."""
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)

    def session(self, request: Request) -> Session | None:
        """The one that a request belongs to; None: none, or it has ended."""
        found = self._sessions.get(request.cookies.get(COOKIE, ""))
        return found if found is not None and found.ends_at > time.monotonic() else None

    def allowed(self, request: Request, csrf: str) -> Session:
        """The session of a change.

        Args:
            request: that asks for it.
            csrf: of its form.

        Raises:
            Refused: nobody is signed in, or the form is of another page.
        """
        session = self.session(request)
        if session is None:
            raise Refused("sign in first: what changes something asks for the admin key", 401)
        if not hmac.compare_digest(_digest(csrf), _digest(session.csrf)):
            raise Refused("this form is of another session, or of another site: open its page again, and send it there")
        return session


def key_of(path: Path | None) -> str:
    """The admin key of a console; empty: it is read-only.

    Args:
        path: a file with the key; None: the environment variable has it, or nothing has.

    Raises:
        ServingError: the file cannot be read, or the key is too short to be one.
    """
    if path is None:
        key, where = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
        if not key:
            return ""
    else:
        where = f"--admin-key-file {path}"
        try:
            with path.open("rb") as file:
                key = file.read(LONGEST_KEY + 1).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ServingError(f"{where} cannot be read ({why})") from None
        if len(key) > LONGEST_KEY:
            raise ServingError(f"{where} has more than {LONGEST_KEY:,} characters, which is no key")
    if len(key) < SHORTEST_KEY:
        raise ServingError(
            f"{where} has a key of {len(key)} characters, expected {SHORTEST_KEY} at least; openssl rand -hex 16 makes "
            "one"
        )
    return key


def set_cookie(response: Response, request: Request, name: str) -> None:
    """Give a browser its session: for no script, for no other site, and over TLS alone where the page came so."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, name, max_age=SESSION_S, httponly=True, samesite="strict", secure=is_secure)


def _digest(text: str) -> bytes:
    """Of one length, whatever the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
