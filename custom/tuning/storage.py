"""Where a study is kept: a file by default, PostgreSQL for several machines."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from custom.errors import UserError

Answer = TypeVar("Answer")
LOCK = 0x54554E45  # of PostgreSQL's advisory locks, which are numbers
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}  # seconds
OUTAGE = 600.0  # seconds that a database may be away


def address(text: str, default: Path) -> str:
    """SQLAlchemy's address of a storage.

    :param text: empty, a file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``
    :param default: file where nothing is said
    :raises UserError: something else
    """
    text = text or str(default)
    if re.match(r"postgres(ql)?(\+psycopg)?://", text):
        url = "postgresql+psycopg://" + text.partition("://")[2]
        try:
            sqlalchemy.make_url(url)
        except (ValueError, sqlalchemy.exc.ArgumentError):
            raise UserError(
                "STORAGE: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None
        return url
    if "://" not in text or text.startswith("sqlite:///"):
        return f"sqlite:///{Path(text.removeprefix('sqlite:///')).absolute()}"
    kind = text.partition("://")[0]
    raise UserError(f"STORAGE: {kind} is not known; give a file or postgresql://USER@HOST/DATABASE")


def existing(text: str, default: Path) -> str:
    """As `address`, of a storage that is there.

    :raises UserError: a file that is not
    """
    url = address(text, default)
    if url.startswith("sqlite") and not file_of(url).is_file():
        raise UserError(f"STORAGE {file_of(url)}: there is no such file; make tune begins a study")
    return url


def shown(url: str) -> str:
    """An address without its password, which may also stand behind a question mark."""
    return sqlalchemy.make_url(url).set(query={}).render_as_string(hide_password=True)


def open_storage(url: str) -> RDBStorage:
    """Open a storage, and make its tables where there are none.

    :raises UserError: it cannot be reached, or is none
    """
    try:
        if url.startswith("sqlite"):
            file_of(url).parent.mkdir(parents=True, exist_ok=True)
        with alone(url):
            return RDBStorage(url, engine_kwargs=_engine_settings(url))
    except ImportError:
        raise UserError(
            "STORAGE: PostgreSQL needs a driver; .venv/bin/pip install -c constraints.txt"
            " -e '.[postgresql]'"
        ) from None
    except (OSError, RuntimeError, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise UserError(f"STORAGE {shown(url)}: cannot be used ({reason[:300]})") from None


def insist(act: Callable[[], Answer]) -> Answer:
    """Do something with a storage, again where its server is away for a while.

    :raises UserError: it is away for longer than `OUTAGE`
    """
    end, pause = time.monotonic() + OUTAGE, 0.5
    while True:
        try:
            return act()
        except (sqlalchemy.exc.OperationalError, StorageInternalError) as error:
            if time.monotonic() + pause > end:
                reason = " ".join(str(error.__cause__ or error).split())[:300]
                raise UserError(f"STORAGE: does not answer ({reason})") from None
            time.sleep(pause)
            pause = min(2 * pause, 30.0)


def _engine_settings(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {}
    return {"pool_pre_ping": True, "connect_args": KEEPALIVE}


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Be the only process, on any machine, that claims something in a storage.

    The lock ends with the process that holds it, however that ends.
    """
    if url.startswith("sqlite"):
        with file_of(url).with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.pool.NullPool, connect_args=KEEPALIVE
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({LOCK})"))
        yield


def file_of(url: str) -> Path:
    """The file of a storage that is one."""
    return Path(str(sqlalchemy.make_url(url).database))
