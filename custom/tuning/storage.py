"""Where a study is kept: an SQLite file by default, PostgreSQL for several machines."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from custom.system.errors import UserError

HEARTBEAT, GRACE = 10, 60  # seconds between heartbeats of a trial; without one until it has failed
WAIT = 60.0  # seconds for a write of another process to an SQLite file
LOCK = 0x54554E45  # of PostgreSQL's advisory locks, which are numbers
POSTGRESQL = re.compile(r"postgresql://(([^@]*@)?[^@/:]+(:\d+)?/[^@]+)")


def address(text: str, default: Path) -> str:
    """SQLAlchemy's address of a storage.

    :param text: empty, a file, or ``postgresql://USER@HOST/DATABASE``
    :param default: file where `text` is empty
    :raises UserError: something else
    """
    if match := POSTGRESQL.fullmatch(text):
        return f"postgresql+psycopg://{match[1]}"
    if "://" in text:  # not shown: it may hold a password
        raise UserError(
            "STORAGE: give a file, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, in the"
            " password %40 for @"
        )
    return f"sqlite:///{Path(text or default).absolute()}"


def file_of(url: str) -> Path | None:
    """The file of a storage; None: it is a server."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else None


def shown(url: str) -> str:
    """An address without its password, which may also stand behind a question mark."""
    return sqlalchemy.make_url(url).set(query={}).render_as_string(hide_password=True)


def connect(url: str) -> RDBStorage:
    """Optuna's storage; a trial without a heartbeat for `GRACE` seconds has failed."""
    settings = {"connect_args": {"timeout": WAIT}} if file_of(url) else {"pool_pre_ping": True}
    return RDBStorage(url, engine_kwargs=settings, heartbeat_interval=HEARTBEAT, grace_period=GRACE)


@contextmanager
def one_line_errors(url: str) -> Iterator[None]:
    """Report in one line what is wrong with a storage.

    :raises UserError: instead of what SQLAlchemy and Optuna raise
    """
    try:
        yield
    except ImportError:
        raise UserError(
            "STORAGE: PostgreSQL needs a driver; .venv/bin/pip install -c constraints.txt"
            " -e '.[postgresql]'"
        ) from None
    except (OSError, RuntimeError, sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        reason = " ".join(str(getattr(cause, "orig", None) or cause or error).split())
        raise UserError(f"STORAGE {shown(url)}: cannot be used ({reason[:300]})") from None


@contextmanager
def storage_lock(url: str) -> Iterator[None]:
    """Keep all other processes, on any machine, from beginning a study or claiming a trial.

    The lock ends with its process. Optuna has none: two processes could both make the tables, or
    begin a study twice, or claim trials with the same seed.
    """
    if file := file_of(url):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f"{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({LOCK})"))
        yield
