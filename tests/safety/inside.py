"""A direct connection to a local cluster: the same commands, roles and answers, without HTTP."""

from kqlmi.cluster.protocol.table import Column, Table
from kqlmi.errors import ServiceError
from kqlmi.local.cluster import LocalCluster
from kqlmi.local.http.service import Request, Service
from kqlmi.local.values.faults import KustoError


class Inside:
    """A connection for tests with many requests and no network; of the journal it returns all rows, without any filter."""

    def __init__(self, cluster: LocalCluster, service: Service) -> None:
        self._caller, self._service = cluster._state.callers[cluster.token], service

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        del timeout
        if text.startswith(".show journal | where"):
            text = ".show journal"
        is_query = not text.lstrip().startswith((".", "//"))
        request = Request(self._caller, text, database, client_request_id or "none")
        try:
            (found, *_) = self._service.begin(request, is_query=is_query).work()
        except KustoError as fault:
            raise ServiceError(fault.detail, code=fault.code, type_name=fault.type_name, status=fault.status) from fault
        return Table(tuple(Column.of(one.name, one.type) for one in found.columns), found.rows)

    def close(self) -> None:
        pass
