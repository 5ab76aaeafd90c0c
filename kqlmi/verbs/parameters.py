"""What stands for a parameter of a verb: its annotation, by which completion offers values.

Where the values are fixed, they are the annotation: ``Annotated[str, ("text", "json")]``.
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
"""The values that fit: these, or all of a kind; empty where anything may."""


def values_of(annotation: Any) -> Values:
    """Return the values that fit a parameter, or an item of one that is a tuple."""
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    found: Values = annotation.__metadata__[0] if get_origin(annotation) is Annotated else ""
    return found
