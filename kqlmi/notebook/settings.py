"""The settings for all connections of a notebook: ``%config KqlMI``."""

import traitlets
from traitlets.config import Configurable


class KqlMI(Configurable):
    """The settings, which IPython lists under this class name and reads from its configuration."""

    timeout = traitlets.Float(
        None,
        min=1,
        max=3600,
        allow_none=True,
        help="The deadline of each request, in seconds, for connections opened from now on. It overrides the"
        " configuration file.",
    ).tag(config=True)
    read_only = traitlets.Bool(default_value=False, help="Open connections that refuse changes.").tag(config=True)
    raw = traitlets.Bool(
        default_value=False, help="Return the service's own row of a policy command, as --raw does."
    ).tag(config=True)
