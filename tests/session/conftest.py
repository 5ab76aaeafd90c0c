"""Fixtures: a local cluster that no test here changes."""

from collections.abc import Iterator

import pytest

import kqlmi
from kqlmi.local.cluster import LocalCluster


@pytest.fixture(scope="session")
def world() -> Iterator[LocalCluster]:
    with kqlmi.local.start() as started:
        yield started
