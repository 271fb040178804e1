"""Where a study is kept: a file by default, PostgreSQL for several machines."""

from __future__ import annotations

import fcntl
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from custom.errors import UserError

HEARTBEAT = 15  # seconds between two signs of life of a trial
GRACE = 120  # seconds without one until a trial of another machine is given to somebody else
REPEATS = 2  # of a trial whose process was killed
DEATHS, REPEATED = "deaths", "repeats"  # of a trial: how often it was killed, and which it repeats
LOCK = 0x54554E45  # of PostgreSQL's advisory locks, which are numbers


def address(text: str, default: Path) -> str:
    """SQLAlchemy's address of a storage.

    :param text: empty, a file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``
    :param default: file where nothing is said
    :raises UserError: something else
    """
    text = text or str(default)
    if re.match(r"postgres(ql)?(\+psycopg)?://", text):
        return "postgresql+psycopg://" + text.partition("://")[2]
    if "://" not in text or text.startswith("sqlite:///"):
        return f"sqlite:///{Path(text.removeprefix('sqlite:///')).absolute()}"
    kind = text.partition("://")[0]
    raise UserError(f"STORAGE: {kind} is not known; give a file or postgresql://USER@HOST/DATABASE")


def shown(url: str) -> str:
    """An address without its password."""
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def open_storage(url: str) -> RDBStorage:
    """Open a storage, and make its tables where there are none.

    :raises UserError: it cannot be reached, or is none
    """
    try:
        if url.startswith("sqlite"):
            file_of(url).parent.mkdir(parents=True, exist_ok=True)
        with alone(url), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                url,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=repeat,
            )
    except ImportError:
        raise UserError(
            "STORAGE: PostgreSQL needs a driver; .venv/bin/pip install -c constraints.txt"
            " -e '.[postgresql]'"
        ) from None
    except (OSError, RuntimeError, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise UserError(f"STORAGE {shown(url)}: cannot be used ({reason[:300]})") from None


def repeat(study: optuna.Study, trial: FrozenTrial, deaths: int = 1) -> None:
    """Let whoever asks next do a trial again whose process has gone, a few times.

    :param deaths: 0: it was stopped, which is nobody's fault
    """
    died = trial.user_attrs.get(DEATHS, 0) + deaths
    if died > REPEATS:
        return
    again = create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={REPEATED: trial.user_attrs.get(REPEATED, trial.number), DEATHS: died},
    )
    study.add_trial(again)


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
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({LOCK})"))
        yield


def file_of(url: str) -> Path:
    """The file of a storage that is one."""
    return Path(str(sqlalchemy.make_url(url).database))
