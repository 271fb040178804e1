"""The Hub's own client: login, and every error of it as one line without a token.

Address, token and cache are the client's settings: ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME``,
``hf auth login``. It retries by itself where it can.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from httpx2 import HTTPError, InvalidURL
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import logging

from custom.system.errors import UserError, one_line

CLIENT_ERRORS = (HTTPError, InvalidURL, OSError, RuntimeError, ValueError)
LOG_IN = "run .venv/bin/hf auth login, or set HF_TOKEN; the token needs the role write"
REASONS = {  # by the status of the Hub's answer
    401: "the token is refused or has expired; run .venv/bin/hf auth login, or unset HF_TOKEN"
    " for what is public",
    404: "is not there, or is private and this token may not see it",
    412: "has changed meanwhile; run the same command again",
}


def client() -> HfApi:
    """The Hub's client, under this project's name; it logs nothing.

    :raises UserError: the token has a character that cannot be sent
    """
    if not re.fullmatch(r"[!-~]*", get_token() or ""):
        raise UserError(f"the Hugging Face token has a character that no token has: {LOG_IN}")
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # untyped in the client
    version = metadata.version("sb3-atari-dqn")
    return HfApi(library_name="sb3-atari-dqn", library_version=version)


def log_in(api: HfApi) -> list[str]:
    """Whose repositories this token may write: the user, then the user's organizations.

    :raises UserError: there is no token, it is refused, or it may only read
    """
    with hub_errors("login"):
        user = api.whoami()
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError(f"the token of {user['name']} may only read: {LOG_IN}")
    return [user["name"], *(organization["name"] for organization in user.get("orgs", []))]


@contextmanager
def hub_errors(subject: str) -> Iterator[None]:
    """Turn an error of the client into one line.

    :param subject: what the client is asked for
    :raises UserError: in place of it
    """
    try:
        yield
    except CLIENT_ERRORS as error:
        line = f"{constants.ENDPOINT}: {subject}: {_reason(error)}"
        raise UserError(without_token(line)) from None


def _reason(error: BaseException) -> str:
    """What went wrong, and what to do about it where that is known."""
    while error.__cause__ is not None and not isinstance(error, HTTPError):
        error = error.__cause__  # the client wraps the errors of a transfer
    text = one_line(error)
    if isinstance(error, HfHubHTTPError):
        missing = isinstance(error, RepositoryNotFoundError)  # which can have status 401
        status = 404 if missing else error.response.status_code
        if status == 429 or status >= 500:
            return f"the Hub answers {status}; run the same command again later"
        if status == 403:
            return f"the token may not do that ({text}): {LOG_IN}"
        return REASONS.get(status, f"refused with {status} ({text})")
    if isinstance(error, HTTPError):
        return f"cannot be reached ({text})"
    if isinstance(error, HFValidationError):
        return f"{text.rstrip('.')}; write REPO=user/name"
    if isinstance(error, json.JSONDecodeError):
        return "the answer is not a Hub's; check HF_ENDPOINT"
    return text


def without_token(text: str) -> str:
    """The text with `***` in place of every token: this user's, and all that look like one."""
    token = get_token()
    if token:
        text = text.replace(token, "***")
    text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)  # user:password@ of an address
    return re.sub(r"\bhf_(?:(?:oauth|jwt)_[\w.-]+|[A-Za-z0-9]{20,})", "***", text)
