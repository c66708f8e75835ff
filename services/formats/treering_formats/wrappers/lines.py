"""Wrappers that are the front of a line: CRI, `docker compose logs`, `docker service logs`, `kubectl logs --prefix`."""

import re

from treering_formats.times import any_time
from treering_formats.wrappers.envelope import Envelope
from treering_formats.wrappers.inner import InnerText

CRI = "cri"
COMPOSE = "compose"
KUBECTL = "kubectl"

# 2026-11-20T10:00:00.123456789Z stdout F text
_CRI = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))\s(stdout|stderr)\s([FP])(?::\w+)*(?:\s|$)", re.ASCII)
# web-1  | text, shop.1.l2k3@node1    | text
_COMPOSE = re.compile(r"([a-z\d][\w.-]*?)([-_]\d+|\.\d+\.\w+@[\w.-]+)\s+\|(?:\s|$)", re.ASCII)
# [pod/web-7f9/app] text
_KUBECTL = re.compile(r"\[pod/([\w.-]+)/([\w.-]+)\](?:\s|$)", re.ASCII)


def open_line(line: str) -> InnerText | None:
    """The text behind the front of a wrapper; None when there is no such front."""
    # looked for before the expressions, which cost more, are tried: most lines of text have none of these
    if " std" in line and line[0].isdigit():
        return _cri(line)
    if line.find("|", 0, 80) > 0:
        return _compose(line)
    return _kubectl(line) if line.startswith("[pod/") else None


def _cri(line: str) -> InnerText | None:
    match = _CRI.match(line)
    if not match:
        return None
    time, stream, tag = match.groups()
    envelope = Envelope(stream, CRI, any_time(time) or 0, 0, "", "", {"stream": stream}, tag == "P")
    return InnerText(line[match.end() :], envelope)


def _compose(line: str) -> InnerText | None:
    match = _COMPOSE.match(line)
    if not match:
        return None
    name = match[1] + match[2]
    return InnerText(line[match.end() :], Envelope(name, COMPOSE, service=match[1], attributes={"container.name": name}))


def _kubectl(line: str) -> InnerText | None:
    match = _KUBECTL.match(line)
    if not match:
        return None
    pod, container = match.groups()
    named = {"k8s.pod.name": pod, "k8s.container.name": container}
    return InnerText(line[match.end() :], Envelope((pod, container), KUBECTL, service=container, attributes=named))
