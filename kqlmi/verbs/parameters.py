"""The annotations of verb parameters, from which completion derives the values to offer.

If the values are fixed, the annotation lists them: ``Annotated[str, ("text", "json")]``.
"""

from typing import Annotated, Any, get_args, get_origin

ClusterName = Annotated[str, "cluster"]
ConnectionName = Annotated[str, "connection"]
DatabaseName = Annotated[str, "database"]
DatabaseNames = tuple[DatabaseName, ...]
FlowName = Annotated[str, "flow"]
IdentityText = Annotated[str, "identity"]
PlanText = Annotated[str, "plan"]
UsageName = Annotated[str, "usage"]
VerbName = Annotated[str, "verb"]

Values = str | tuple[str, ...]
"""The accepted values: a tuple of them, or the name of their kind; an empty string accepts any value."""


def values_of(annotation: Any) -> Values:
    """Return the values that a parameter accepts, or each item of it if it is a tuple."""
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    found: Values = annotation.__metadata__[0] if get_origin(annotation) is Annotated else ""
    return found
