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
MARK = "studies"  # a table of Optuna's
OUTAGE = 600.0  # seconds that a database may be away


def address(text: str, default: Path) -> str:
    """SQLAlchemy's address of a storage.

    :param text: empty, a file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``
    :param default: file where nothing is said
    :raises UserError: something else
    """
    text = text or str(default)
    kind, _, rest = text.partition("://") if "://" in text else ("", "", text)
    if re.fullmatch(r"postgres(ql)?(\+psycopg)?", kind, re.IGNORECASE):
        if not re.fullmatch(r"([^@/]*@)?[^@/]*/[^@/?]+(\?.*)?", rest):
            raise UserError(
                "STORAGE: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, in the password"
                " %40 for @ and %2F for /"
            )
        return _checked(f"postgresql+psycopg://{rest}")
    if kind in ("", "sqlite"):
        file = Path(rest.removeprefix("/") if kind else rest).absolute()
        if odd := re.search("[?{}]", str(file)):
            raise UserError(f"STORAGE {file}: a study cannot be kept in a path with {odd[0]}")
        return f"sqlite:///{file}"
    raise UserError(f"STORAGE: {kind} is not known; give a file or postgresql://USER@HOST/DATABASE")


def _checked(url: str) -> str:
    try:
        sqlalchemy.make_url(url)
    except (ValueError, sqlalchemy.exc.ArgumentError):
        raise UserError("STORAGE: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
    return url


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


def open_storage(url: str, create: bool = True) -> RDBStorage:
    """Open a storage.

    :param create: make its tables where there are none
    :raises UserError: it cannot be reached, or is none
    """
    with refusing(url):
        if url.startswith("sqlite"):
            file_of(url).parent.mkdir(parents=True, exist_ok=True)
            _check_file(file_of(url))
        if not create and MARK not in _tables(url):
            raise UserError(f"STORAGE {shown(url)}: holds no study; make tune begins one")
        with alone(url):
            return RDBStorage(url, engine_kwargs=_engine_settings(url))


@contextmanager
def refusing(url: str) -> Iterator[None]:
    """What is wrong with a storage, in a line.

    :raises UserError: instead of what its libraries raise
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


def _check_file(file: Path) -> None:
    """Leave other programs' files alone."""
    if not file.exists():
        return
    with file.open("r+b"):  # a folder, or nothing that may be written
        pass
    names = _tables(f"sqlite:///{file}")
    if names and MARK not in names:
        raise UserError(f"STORAGE {file}: is of another program (a table {min(names)})")


def _tables(url: str) -> set[str]:
    """Names of the tables in a database."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    return set(sqlalchemy.inspect(engine).get_table_names())


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
        place = file_of(url)
        with place.with_name(f"{place.name}.lock").open("w") as file:
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
