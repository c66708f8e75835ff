"""The inner plane: where services deliver the log and ask one another, and where whoever runs them looks after them.

It is served apart from what people and programs ask, in one of two ways:

- On one host, on a Unix socket in a directory of mode 0700. The kernel lets the directory's user in and nobody else (but root, who may do
  anything), so no password is needed: whoever can open the socket can also read and change the service's files, which lie beside it.
  Both sides look at the directory: a client connects to what is in a directory of its own user, and to nothing else.
- Between hosts, on a port with mutual TLS, from three files: the certificate authority of this installation, a certificate that it signed
  and the certificate's key. Each side refuses a peer without such a certificate, and the client one whose name is not that of the address.

A service's data directory is the usual place for its socket. Paths of sockets hold 107 bytes; `SocketPlace` goes around that.

What needs gRPC is in `treering.inner.channels`, `treering.inner.tls` and `treering.inner.whole_requests`.
"""

from treering.inner.addresses import InnerAddress, InnerPlaneError, socket_address
from treering.inner.places import SocketPlace

SOCKET = "inner/s"
"""Where a service has its socket, below its data directory."""

__all__ = ["SOCKET", "InnerAddress", "InnerPlaneError", "SocketPlace", "socket_address"]
