"""The storage queues of ingestion: clients with short timeouts, and messages that are sent once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from kqlmi.errors import is_refusal

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient

# In seconds; the client's default is 80.
_BOUNDS: Final[dict[str, Any]] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 20}


@contextmanager
def opened(queue: Any, proxies: Mapping[str, Any] | None) -> Iterator["QueueClient"]:
    """Yield a client of a queue that sends each request once, with short timeouts."""
    from azure.storage.queue import QueueServiceClient, TextBase64EncodePolicy

    with (
        QueueServiceClient(queue.account_uri, proxies=proxies, **_BOUNDS) as service,
        service.get_queue_client(queue.object_name, message_encode_policy=TextBase64EncodePolicy()) as client,
    ):
        yield client


def post(queue: Any, message: str, proxies: Mapping[str, Any] | None) -> Exception | None:
    """Send a message to a queue, and return the error, if any. Its message may contain the signature of the queue."""
    try:
        with opened(queue, proxies) as client:
            client.send_message(message)
    except Exception as error:  # noqa: BLE001 - whatever it is, the message may have left
        return error
    return None


def is_refused(cause: BaseException) -> bool:
    """Check whether an error proves that a queue did not accept a message: it never left, or the storage refused it."""
    import requests
    from azure.core.exceptions import HttpResponseError, ServiceRequestError
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    if isinstance(cause, HttpResponseError):
        # A proxy or gateway may respond too, whether or not it passed the message on, but without a storage error code.
        return is_refusal(cause.status_code, own=bool(getattr(cause, "error_code", "")))
    # The class alone proves nothing: it is also raised if TLS breaks while the response is read.
    inner = cause.inner_exception if isinstance(cause, ServiceRequestError) else None
    return isinstance(inner, NewConnectionError | ConnectTimeoutError | requests.ConnectTimeout)
