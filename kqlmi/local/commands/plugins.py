"""Commands for plugins, which are off until enabled."""

from dataclasses import replace

from kqlmi.local.dispatch.registry import Call, Rows, command
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.principals import ADMIN, READ_SCHEMA

_SCHEMA = "PluginName: string, IsEnabled: bool"
_KNOWN = ("python",)
_ALWAYS = ("infer_storage_schema",)


@command(".show plugins", schema=_SCHEMA)
def plugins_show(call: Call) -> Rows:
    """Return the plugins that are supported."""
    call.allowed(READ_SCHEMA)
    return [(name, name in {*call.state.world.plugins, *_ALWAYS}) for name in (*_ALWAYS, *_KNOWN)]


@command(
    ".enable plugin {name:plugin}",
    ".disable plugin {name:plugin}",
    schema=_SCHEMA,
    name="plugin_{verb}",
    needs=ADMIN,
    writes=True,
)
def plugin_switch(call: Call) -> Rows:
    """Enable or disable a plugin; on a real cluster, python is set in the portal or by Azure Resource Manager."""
    name, enables = call.args["plugin"], call.args["verb"] == "enable"
    if name not in _KNOWN:
        raise bad_request(f"the local cluster cannot enable or disable the plugin '{name}', only {', '.join(_KNOWN)}")
    call.state.change(lambda w: replace(w, plugins=w.plugins | {name} if enables else w.plugins - {name}))
    return plugins_show(call)
