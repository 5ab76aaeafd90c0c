"""The data connections of a cluster: listing and creating them."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from kqlmi.arm import operations
from kqlmi.arm.arm_errors import translated
from kqlmi.arm.identities import READER
from kqlmi.arm.operations import Change, State, before_sending, run
from kqlmi.arm.resource import ClusterResource
from kqlmi.errors import ApplyError, ResourceManagerError
from kqlmi.fanout import each
from kqlmi.model.azure.connectionplan import ConnectionPlan
from kqlmi.model.azure.dataconnections import DataConnection

NEEDS: Final = "the role Contributor on the cluster"
_STREAMS: Final = (
    "eventHubResourceId",
    "eventHubResourceIdForManagedIdentity",
    "iotHubResourceId",
    "cosmosDbAccountResourceId",
    "storageAccountResourceId",
)


def read(
    cluster: ClusterResource, databases: Iterable[str]
) -> Mapping[str, tuple[DataConnection, ...] | ResourceManagerError]:
    """Return the data connections of each database, or the error if they could not be read.

    Raises:
        MissingExtraError: azure-mgmt-kusto is not installed.
        SignInError: No token was obtained.
    """
    names = tuple(databases)
    with cluster.kusto() as client:
        found = each(lambda name: _of(client, cluster, name), names, lambda _: None)
        return dict(zip(names, found, strict=True))


def apply(
    cluster: ClusterResource, plan: ConnectionPlan, *, deadline: float | None, tell: Callable[[str], None]
) -> None:
    """Create exactly the data connection of ``plan``, unless one with that name exists.

    Raises:
        ApplyError: The plan was not applied. The error's ``outcome`` reports whether anything changed.
    """
    place = (*cluster.place, plan.database, plan.name)
    with cluster.kusto() as client:

        def look() -> State:
            found = _properties(client, place)
            if found is None:
                return "before"
            if str(found.get("provisioningState") or "Succeeded").casefold() != "succeeded":
                return "changing"
            return "after" if _holds(found, plan.body["properties"]) else "other"

        with before_sending():
            there = look()
        if there != "before":
            raise ApplyError(
                f"A data connection {plan.name!r} already exists in the database {plan.database}. Nothing was sent.",
                outcome="not applied",
                hint="Use another name. To list the existing ones: %kqlmi dataconnections",
            )
        change = Change(
            plan.summary,
            NEEDS,
            lambda: client.data_connections.begin_create_or_update(*place, plan.body, **operations.ONCE),
            look,
            "%kqlmi dataconnections",
            cluster.pause,
        )
        run(change, deadline=deadline, tell=tell)


def _of(client: Any, cluster: ClusterResource, database: str) -> tuple[DataConnection, ...] | ResourceManagerError:
    try:
        with translated("list the data connections", READER):
            listed = client.data_connections.list_by_database(*cluster.place, database)
            return tuple(_connection(one.as_dict(), database) for one in listed)
    except ResourceManagerError as error:
        return error


def _properties(client: Any, place: tuple[str, ...]) -> Mapping[str, Any] | None:
    try:
        with translated("list the data connections", READER):
            return dict(client.data_connections.get(*place).as_dict().get("properties") or {})
    except ResourceManagerError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def _connection(shown: Mapping[str, Any], database: str) -> DataConnection:
    properties = shown.get("properties") or {}
    streams = (str(properties[name]) for name in _STREAMS if properties.get(name))
    return DataConnection(
        str(shown.get("name") or "").rpartition("/")[2],
        database,
        str(shown.get("kind") or ""),
        str(properties.get("tableName") or ""),
        str(properties.get("managedIdentityResourceId") or ""),
        str(properties.get("managedIdentityObjectId") or "").lower(),
        next(streams, ""),
        str(properties.get("databaseRouting") or "").casefold() == "multi",
    )


def _holds(found: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Check whether the properties found include those sent, ignoring the case of values, which the service changes."""
    return all(str(found.get(name) or "").casefold() == value.casefold() for name, value in wanted.items())
