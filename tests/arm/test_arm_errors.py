"""Tests of errors of Azure Resource Manager: only its own refusal proves that nothing happened."""

from types import SimpleNamespace

import pytest
from azure.core.exceptions import HttpResponseError

from kqlmi.arm.arm_errors import translated
from kqlmi.errors import ResourceManagerError


@pytest.mark.parametrize("status", [400, 403, 404, 407, 413, 451, 500, 503])
@pytest.mark.parametrize("code", ["AuthorizationFailed", ""])
def test_a_refusal_without_azures_own_code_proves_nothing(status: int, code: str) -> None:
    error = HttpResponseError("<html>Blocked</html>")
    error.status_code, error.error = status, SimpleNamespace(code=code)  # type: ignore[assignment]
    with pytest.raises(ResourceManagerError) as caught, translated("assign", "a role"):
        raise error
    assert caught.value.nothing_happened is (bool(code) and status < 500)
