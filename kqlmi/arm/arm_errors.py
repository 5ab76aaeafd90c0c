"""The translation of the errors of Azure's clients into kqlmi's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from kqlmi.errors import KqlmiError, ResourceManagerError, SignInError, is_refusal, printable, require_extra

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError


@contextmanager
def translated(what: str, needs: str) -> Iterator[None]:
    """Translate the errors of Azure's clients into kqlmi's errors: "Azure Resource Manager did not ``what``: reason".

    ``needs`` names the required Azure role.
    """
    with require_extra("azure", "Requests to Azure Resource Manager need azure-mgmt-kusto, which is not installed."):
        from azure.core.exceptions import AzureError
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        # Azure's clients raise these for a response body that is not from Azure.
        raise ResourceManagerError(
            f"Azure Resource Manager did not {what}: the response is not from Azure.",
            hint="Check for a proxy between you and Azure.",
        ) from None
    except AzureError as error:
        failed = _as_kqlmi_error(error, what, needs)
        if isinstance(failed, ResourceManagerError):
            # Either the operation itself failed, or only the request for its state.
            failed.ended = type(error.__cause__).__name__ == "OperationFailed"
        try:
            raise failed
        finally:
            # The library's own error, and Azure's response, may repeat what was sent.
            failed.forget(_token(error))


def _as_kqlmi_error(error: "AzureError", what: str, needs: str) -> KqlmiError:
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

    status = error.status_code if isinstance(error, HttpResponseError) else None
    start = f"Azure Resource Manager did not {what}"
    if isinstance(error, ClientAuthenticationError) and status is None:
        return SignInError(f"{start}, because no token was obtained: {_reason(error)}", hint="Sign in again.")
    if isinstance(error, ServiceRequestError):
        hint = "Nothing was sent. Check the network and its proxy."
        return ResourceManagerError(f"{start}: no connection could be made.", hint=hint, nothing_happened=True)
    if status is None:
        return ResourceManagerError(f"{start}: the connection broke before a response arrived.", hint="Try again.")
    code = str(getattr(getattr(error, "error", None), "code", "") or "")
    return ResourceManagerError(
        f"{start}: {_reason(error) if code else f'it returned status {status:d}'}",
        hint=_hint(error, status, needs),
        status=status,
        nothing_happened=is_refusal(status, own=bool(code)),
    )


def _token(error: "AzureError") -> frozenset[str]:
    request = getattr(getattr(error, "response", None), "request", None)
    sent = str(getattr(request, "headers", {}).get("Authorization", "")).removeprefix("Bearer ")
    return frozenset({sent} - {""})


def _reason(error: "AzureError") -> str:
    lines = str(getattr(error, "message", "") or error).splitlines()
    return printable(lines[0] if lines else type(error).__name__)


def _hint(error: "AzureError", status: int, needs: str) -> str:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    delay = str(headers.get("Retry-After", ""))
    when = f"in {delay} s" if delay.isdecimal() else "later"
    hints: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: "The token was not accepted. Use another sign-in mode than a token for Kusto.",
        HTTPStatus.FORBIDDEN: f"This requires {needs}.",
        HTTPStatus.NOT_FOUND: "Check the resource ID.",
        HTTPStatus.CONFLICT: "Another operation seems to be in progress. Try again when it has ended.",
        HTTPStatus.PRECONDITION_FAILED: "The cluster was changed at the same time. Plan the change again.",
        HTTPStatus.TOO_MANY_REQUESTS: f"There were too many requests. Try again {when}.",
    }
    return hints.get(status, "")
