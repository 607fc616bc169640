"""A TCP port in front of a Unix socket, for clients that cannot speak to one by themselves.

Whoever connects to the port acts as the user that runs the bridge.
"""

import socket
import threading

CHUNK_BYTES = 65536


def _forward(source, sink):
    try:
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is gone, so the other is of no use.
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class TcpBridge:
    """Forwards what comes in on 127.0.0.1:`port` to the Unix socket at `path`, until close()."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        self.threads = []
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.connect(self.path)
            self.sockets += [client, server]
            for pair in ((client, server), (server, client)):
                thread = threading.Thread(target=_forward, args=pair, daemon=True)
                thread.start()
                self.threads.append(thread)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join()
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join()
        for each in self.sockets:
            each.close()
