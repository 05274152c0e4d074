"""A web server on this machine whose answers a test decides."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers each path by a function of `answers`, and any other with 404. It keeps ranges and conditions."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.conditions.append(self.headers.get("If-Range"))
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    def do_HEAD(self):
        self.do_GET()

    def answer(self, body, status=200, **headers):
        """Send a response whose headers are named with `_` for `-`."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def file(content, **version):
    """Answer as an ordinary server, which continues where it is asked to, unless `If-Range` has another version.

    The version is the header ETag or Last_Modified, which every answer has.
    """

    def answer(handler):
        wanted = handler.headers.get("Range")
        if handler.headers.get("If-Range", "same") not in ("same", *version.values()):
            wanted = None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and start >= len(content):
            handler.answer(b"", 416, Content_Range=f"bytes */{len(content)}", **version)
        elif wanted:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.answer(content[start:], 206, Content_Range=place, **version)
        else:
            handler.answer(content, **version)

    return answer


@contextmanager
def serve(**answers):
    """Yield a server. Its answers are functions of the handler, or contents of files, by path without the slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers = {
        f"/{path}": file(answer) if isinstance(answer, bytes) else answer for path, answer in answers.items()
    }
    server.asked, server.conditions = [], []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
