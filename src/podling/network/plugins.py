"""netavark's plugins: programs of the name of a network's driver, which complete a definition of such a network themselves."""

from __future__ import annotations

import os

from podling import jsontext
from podling.errors import InvalidArgument, PodlingError, Unsupported
from podling.linux import process
from podling.network.networks import from_json, to_json
from podling.values.gotext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.config.containers import ContainersConf
    from podling.model import Network

_SECONDS = 60.0


def find(driver: str, conf: ContainersConf) -> str:
    """The path of the plugin for a driver; Unsupported where there is none."""
    paths = [f"{directory}/{driver}" for directory in conf.netavark_plugin_dirs] if "/" not in driver else []
    path = next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    if path is None:
        raise Unsupported(f"failed to find driver or plugin {quote(driver)}",
                          hint=f"the drivers are bridge, macvlan and ipvlan; plugins are in {', '.join(conf.netavark_plugin_dirs)}")
    return path


def complete(network: Network, path: str) -> Network:
    """The definition as the plugin wants it (netavark's plugin protocol: ``PLUGIN create``, JSON in and out)."""
    done = process.run([path, "create"], input=jsontext.dumps(to_json(network)).encode(), timeout=_SECONDS, check=False)
    try:
        answer = jsontext.loads(done.stdout)
        if done.status:
            raise PodlingError(f"plugin {path} failed: {answer['error']}")
        found = from_json(answer)
    except (ValueError, TypeError, KeyError, AttributeError, InvalidArgument) as error:
        raise PodlingError(f"plugin {path} answered with something that is no network: {error}") from None
    if (found.name, found.id, found.driver) != (network.name, network.id, network.driver):
        raise PodlingError(f"invalid plugin result: {path} changed the name, the id or the driver of network {network.name}")
    return found
