"""A service on loopback, and the waits of none."""

from collections.abc import Iterator

import pytest

from .service import Service, serve


@pytest.fixture
def service() -> Iterator[Service]:
    with serve() as told:
        yield told
