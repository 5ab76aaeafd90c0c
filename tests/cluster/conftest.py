"""Fixtures: a service on loopback, and connections that never wait."""

from collections.abc import Iterator

import pytest

from .service import Service, serve


@pytest.fixture
def service() -> Iterator[Service]:
    with serve() as started:
        yield started
