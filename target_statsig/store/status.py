"""What the store says for `--status` and `--verify`: read without a trace, and without a run."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.errors import StoreError
from target_statsig.store.history import last_runs
from target_statsig.store.locks import key_of, open_locks
from target_statsig.store.readonly import PATIENCE, open_there
from target_statsig.store.tables import has_this_version, newest, read_version
from target_statsig.store.url import StoreUrl

if TYPE_CHECKING:
    from pathlib import Path

    from target_statsig.store.database import Connection
    from target_statsig.store.values import PastRun


class HeldMembers(NamedTuple):
    """Members of a mirrored segment that are missing in its stream and are members all the same.

    Attributes:
        members: How many.
        since: Since when the first of them is missing, in seconds since 1970.
        stream: The stream that feeds the segment; None where that is not known.
    """

    members: int
    since: float
    stream: str | None


class Holder(NamedTuple):
    """A run that is at work now.

    Attributes:
        name: What it has locked: the kind and the name of a segment or stream.
        run_id: Its name.
        host: The machine that it runs on.
        pid: The number of its process there.
        since: Since when, in seconds since 1970.
    """

    name: str
    run_id: str
    host: str
    pid: int
    since: float


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the store remembers of a Statsig project.

    Attributes:
        place: Its URL without password.
        version: The version of its schema; None where there is no store yet.
        size: Its bytes, with those of other projects.
        runs: The last runs, the last one first.
        held: Held members, by segment.
        kept: How many changes are kept for the next run, by segment.
        holders: The runs that are at work.
    """

    place: str
    version: int | None = None
    size: int = 0
    runs: list[PastRun] = field(default_factory=list)
    held: dict[str, HeldMembers] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    holders: list[Holder] = field(default_factory=list)


def read_status(store_url: str, *, project: str) -> StoreStatus:
    """Read what the store remembers of a project; the store is not created where there is none.

    Raises:
        StoreError: It cannot be reached, is no store of this target, or has the schema of another version.
    """
    url = StoreUrl.parse(store_url)
    opened = open_there(url)
    if opened is None:
        return StoreStatus(url.place)
    with closing(opened) as connection:
        if not has_this_version(connection):
            version = read_version(connection)
            if version is None:
                return StoreStatus(url.place)
            msg = (
                f"{url.named} was written by an older target-statsig (schema {version}, this one knows {newest()}): "
                "let a run bring it up to date first"
            )
            raise StoreError(msg)
        size = _size(connection, url.path)
        query = "SELECT project FROM target_statsig_projects WHERE identity = :identity"
        number = connection.value(query, identity=project)
        if number is None:
            return StoreStatus(url.place, newest(), size)
        return StoreStatus(
            url.place,
            newest(),
            size,
            last_runs(connection, number),
            _held(connection, number),
            _kept(connection, number),
            _holders(connection, number, store_url, project),
        )


def _size(connection: Connection, path: Path | None) -> int:
    if path is None:
        tables = "relkind = 'r' AND left(relname, 15) = 'target_statsig_' AND pg_table_is_visible(oid)"
        return int(
            connection.value(f"SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE {tables}")
        )
    size = 0
    for part in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            size += part.stat().st_size
    return size


def _held(connection: Connection, project: int) -> dict[str, HeldMembers]:
    missing = (
        "SELECT segment, count(*) AS missing, min(missing_since) AS since FROM target_statsig_members "
        "WHERE missing_since IS NOT NULL GROUP BY segment"
    )
    joined = f"target_statsig_segments JOIN ({missing}) AS held USING (segment)"
    query = f"SELECT name, missing, since, fed_by FROM {joined} WHERE project = :project ORDER BY name"
    return {name: HeldMembers(*held) for name, *held in connection.run(query, project=project)}


def _kept(connection: Connection, project: int) -> dict[str, int]:
    joined = "target_statsig_segments JOIN target_statsig_pending USING (segment)"
    query = f"SELECT name, count(*) FROM {joined} WHERE project = :project GROUP BY name ORDER BY name"
    return {name: int(count) for name, count in connection.run(query, project=project)}


def _holders(connection: Connection, project: int, store_url: str, identity: str) -> list[Holder]:
    query = "SELECT name, run_id, host, pid, since FROM target_statsig_locks WHERE project = :project ORDER BY since"
    signed = [Holder(*row) for row in connection.run(query, project=project)]
    if not signed:
        return []
    with closing(open_locks(store_url, patience=PATIENCE)) as locks:
        return [holder for holder in signed if not locks.is_free(key_of(identity, holder.name))]
