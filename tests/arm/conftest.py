"""A local cluster and a session on it that knows its resource ID."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

import kqlmi
from kqlmi.local.cluster import LocalCluster
from kqlmi.session import Session

Connect = Callable[..., Session]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with kqlmi.local.start(databases=["Samples"], identities=["system", "loader", "exporter"]) as started:
        yield started


@pytest.fixture
def connect(cluster: LocalCluster) -> Iterator[Connect]:
    with ExitStack() as held:

        def opened(**options: Any) -> Session:
            """Connect, with the given options for Azure's clients instead of the cluster's."""
            arm = {**cluster.arm_options, **options}
            session = kqlmi.connect(
                cluster.url, token=cluster.token, name="here", resource_id=cluster.resource_id, arm_options=arm
            )
            return held.enter_context(session)

        yield opened


@pytest.fixture
def session(connect: Connect) -> Session:
    return connect()


def create(cluster: LocalCluster, name: str) -> Any:
    """Create a user-assigned identity that is not assigned to the cluster."""
    from azure.mgmt.msi import ManagedServiceIdentityClient

    with ManagedServiceIdentityClient(subscription_id=cluster.subscription_id, **cluster.arm_options) as client:
        return client.user_assigned_identities.create_or_update(cluster.resource_group, name, {"location": "local"})


def unassign_by_hand(cluster: LocalCluster, name: str) -> None:
    """Unassign an identity from the cluster without the session's knowledge."""
    cluster._state.change(
        lambda world: replace(world, identities=tuple(one for one in cluster.identities if one.display_name != name))
    )
