"""What the path of a log file of Kubernetes says of the lines in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# /var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log
_POD = re.compile(r"(?:^|/)([a-z\d.-]+)_([a-z\d.-]+)_([\da-f-]{32,36})/([a-z\d.-]+)/(\d+)\.log(?:\.[\w.-]+)?$")
# /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log
_CONTAINER = re.compile(r"(?:^|/)([a-z\d.-]+)_([a-z\d.-]+)_([a-z\d.-]+)-([\da-f]{64})\.log(?:\.[\w.-]+)?$")


@dataclass(frozen=True)
class PathOrigin:
    """What a path says.

    Attributes:
        service: The container's name.
        environment: The namespace.
        attributes: The names under which OpenTelemetry knows them.
    """

    service: str
    environment: str
    attributes: Mapping[str, str]


def path_origin(path: str) -> PathOrigin | None:
    """Whose lines a file has, by its path below `/var/log/pods` or its name in `/var/log/containers`; None for any other path."""
    pod = _POD.search(path)
    if pod:
        namespace, name, uid, container, restarts = pod.groups()
        named = {"k8s.pod.uid": uid, "k8s.container.restart_count": restarts}
    else:
        found = _CONTAINER.search(path)
        if not found:
            return None
        name, namespace, container, identifier = found.groups()
        named = {"container.id": identifier}
    named |= {"k8s.namespace.name": namespace, "k8s.pod.name": name, "k8s.container.name": container}
    return PathOrigin(container, namespace, named)
