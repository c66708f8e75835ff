"""OpenVINO, without its telemetry.

`import openvino` reports itself to a web service, from a forked process, and writes an identifier below the home directory; no setting
turns that off beforehand. Nothing may leave the machine, so the package that does this is made to look absent, as OpenVINO allows.
Everything of this service that needs OpenVINO imports it from here.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None is taken for absent

from openvino import Core, Model, Node, opset13  # noqa: E402 - after the line above, or it has no effect

__all__ = ["Core", "Model", "Node", "opset13"]
