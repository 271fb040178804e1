"""The Hugging Face Hub: who asks, how often, and what is said when it refuses.

Address, token and cache are the Hub's own settings: ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME``,
``hf auth login``.
"""

from __future__ import annotations

import errno
import json
import re
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, TypeVar

from httpx2 import (
    Client,
    HTTPError,
    InvalidURL,
    LocalProtocolError,
    Timeout,
    UnsupportedProtocol,
)
from huggingface_hub import HfApi, constants, get_token, set_client_factory
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import logging
from huggingface_hub.utils._http import default_client_factory, parse_ratelimit_headers

from custom.console import say
from custom.errors import UserError

Result = TypeVar("Result")
BUSY = (408, 429, 500, 502, 503, 504)
WAITS = (1.0, 3.0, 9.0)  # seconds before asking again, where the Hub does not name a time itself
LONGEST_WAIT = 300.0  # the window in which the Hub counts requests
LONGEST_ANSWER, LONGEST_CONNECT = 60.0, 10.0
PATIENCE = 20.0  # seconds of a failed call after which it is not repeated
LOST = (HTTPError, InvalidURL, ConnectionError, TimeoutError, LocalEntryNotFoundError)
WRAPPERS = (LocalEntryNotFoundError, RuntimeError, ValueError)  # around the errors of a transfer
LOG_IN_AGAIN = "run .venv/bin/hf auth login, or unset HF_TOKEN for what is public"
LOG_IN = "run .venv/bin/hf auth login, or set HF_TOKEN; the token needs the role write"


class StaleError(Exception):
    """Somebody else has changed the repository since it was looked at."""


class NotFoundError(UserError):
    """There is no such repository, revision or file, or this token may not see it."""


class UnreachableError(UserError):
    """The Hub does not answer."""


def client() -> HfApi:
    """The Hub's own client, under this project's name; what fails is told here, by `ask`."""
    set_client_factory(_connection)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # untyped in the client
    version = metadata.version("sb3-atari-dqn")
    return HfApi(constants.ENDPOINT, library_name="sb3-atari-dqn", library_version=version)


def _connection() -> Client:
    """The client's own, which would wait for ever for an answer."""
    made = default_client_factory()
    made.timeout = Timeout(LONGEST_ANSWER, connect=LONGEST_CONNECT)
    return made


def log_in(api: HfApi) -> list[str]:
    """Whose repositories this token may write: the user's, and those of the organizations.

    :raises UserError: there is no token, it is refused, or it may only read
    """
    if not get_token():
        raise UserError(f"there is no Hugging Face token: {LOG_IN}")
    user = ask("the login", lambda: user_of(api))
    token = user.get("auth", {}).get("accessToken", {})
    scoped = token.get("fineGrained", {}).get("scoped", [])
    rights = {right for scope in scoped for right in scope.get("permissions", [])}
    if token.get("role") == "read" or (scoped and "repo.write" not in rights):
        raise UserError(f"the token of {user['name']} may only read: {LOG_IN}")
    organizations = [str(org.get("name")) for org in user.get("orgs") or []]
    return [str(user["name"]), *organizations]


def user_of(api: HfApi) -> dict[str, Any]:
    """What the Hub says of the user.

    :raises KeyError: not even a name, which no Hub says
    """
    user: dict[str, Any] = api.whoami()
    _ = user["name"]
    return user


def ask(what: str, call: Callable[[], Result]) -> Result:
    """Call the Hub, and again after a while where it is busy or the connection broke.

    :param what: that is asked for, as a message names it
    :raises StaleError: a commit on a parent that is no longer the last one
    :raises UserError: anything else, in one line that holds no token
    """
    for wait in (*WAITS, None):
        began = time.monotonic()
        try:
            return call()
        except Exception as error:
            refused = refusal(what, error)
            again = isinstance(refused, UnreachableError) and _may_ask_again(error)
            late = time.monotonic() - began > PATIENCE  # the client has asked again itself
            if wait is None or late or not again:
                raise refused from None
            named = _named_wait(error)
            seconds = wait if named is None else named
            say(f"{what}: the Hub does not answer as it should; asking again in {seconds:g} s")
            time.sleep(seconds)
    raise AssertionError  # the last wait is None


def refusal(what: str, error: Exception) -> Exception:
    """What is said of an error of the client's, or the error itself where it is not of the Hub."""
    found, status = _innermost(error), _status(error)
    named = without_token(f"{constants.ENDPOINT}: {what}")
    if status is None:
        return _unanswered(what, named, found) or error
    if status == 412:
        return StaleError(what)
    if status == 404 or (status == 401 and isinstance(found, RepositoryNotFoundError)):
        return NotFoundError(f"{named}: is not there, or is private and this token may not see it")
    if status == 401:
        return UserError(f"{named}: the token is refused or has expired: {LOG_IN_AGAIN}")
    if status == 403:
        return UserError(f"{named}: this token may not do that ({_line(found)}): {LOG_IN}")
    if status in BUSY:
        reason = f"answers {status} again and again"
        return UnreachableError(f"{named}: {reason}; the same command goes on later")
    return UserError(f"{named}: refused with {status} ({_line(found)})")


def _unanswered(what: str, named: str, error: Exception) -> Exception | None:
    """What is said of an error that came without an answer of the Hub's, where it is of the Hub."""
    if isinstance(error, LocalTokenNotFoundError):
        return UserError(f"there is no Hugging Face token: {LOG_IN}")
    if isinstance(error, UnicodeEncodeError | LocalProtocolError):  # their text quotes the token
        return UserError(f"the Hugging Face token holds a character that no token has: {LOG_IN}")
    if isinstance(error, OfflineModeIsEnabled):
        return UnreachableError(f"{named}: HF_HUB_OFFLINE is set; unset it to reach the Hub")
    if isinstance(error, HFValidationError):
        return UserError(f"{what}: {_line(error)}; write REPO=user/name")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{what}: the disk is full ({error.filename or error.strerror})")
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return UnreachableError(f"{named}: arrived in part ({_line(error)})")
    # The client reads some answers before the status, and takes them for what the Hub says.
    if isinstance(error, json.JSONDecodeError | KeyError | AttributeError | TypeError):
        return UnreachableError(f"{named}: the answer is not a Hub's; is HF_ENDPOINT right?")
    if isinstance(error, LOST) or type(error).__module__ == "hf_xet":
        return UnreachableError(f"{named}: cannot be reached ({_line(error)})")
    return None


def _innermost(error: Exception) -> Exception:
    """The error that the client has wrapped in others, as it does in uploads and downloads."""
    while isinstance(error, WRAPPERS) and not isinstance(error, HfHubHTTPError):
        if not isinstance(error.__cause__, Exception):
            break
        error = error.__cause__
    return error


def _status(error: Exception) -> int | None:
    error = _innermost(error)
    if isinstance(error, HfHubHTTPError):
        return int(error.response.status_code)
    # hf_xet has the status in the text alone.
    told = re.search(r"HTTP status \w+ error \((\d{3})", str(error))
    return int(told[1]) if told and isinstance(error, ConnectionError) else None


def _may_ask_again(error: Exception) -> bool:
    never = OfflineModeIsEnabled | InvalidURL | UnsupportedProtocol
    return not isinstance(_innermost(error), never)


def _named_wait(error: Exception) -> float | None:
    """Seconds that a 429 or 503 asks to wait."""
    found = _innermost(error)
    headers = found.response.headers if isinstance(found, HfHubHTTPError) else {}
    named, limit = headers.get("Retry-After", ""), parse_ratelimit_headers(headers)
    if re.fullmatch(r"\d+", named):
        return min(float(named), LONGEST_WAIT)
    return None if limit is None else min(float(limit.reset_in_seconds), LONGEST_WAIT)


def _line(error: Exception) -> str:
    """One line that holds no token, whatever the client put into it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return without_token(text)[:300]


def without_token(text: str) -> str:
    """The text with every token, this one and any that looks like one, made unreadable."""
    token = get_token()
    if token:
        text = text.replace(token, "***")
    text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)  # user:password@ of an address
    return re.sub(r"\bhf_(?:(?:oauth|jwt)_[\w.-]+|[A-Za-z0-9]{20,})", "***", text)
