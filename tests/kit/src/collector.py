"""A collector for one test: takes OTLP over HTTP, reads it with OpenTelemetry's own types, and tells what has come.

usage: collector.py PORT     (0: a free one; the port is the first line of the output)

POST anything but /control/... is taken as a request for traces. GET /control/state tells what has come;
GET /control/answer/STATUS/RETRY_AFTER has all that follow answered so (200: taken).
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

lock = Lock()
answer = {"status": 200, "retry_after": ""}
state = {"requests": [], "spans": [], "refused": 0}


def plain(attributes):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


def unknown(message):
    """The names of messages with fields that the official types do not know: ours are wrong then."""
    known = type(message).FromString(message.SerializeToString())
    known.DiscardUnknownFields()
    return [] if known == message else [message.DESCRIPTOR.name]


def spans(request):
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "resource": plain(of_resource.resource.attributes),
                    "scope": of_scope.scope.name,
                    "schema": of_resource.schema_url,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "begin": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": plain(span.attributes),
                    "status": span.status.code,
                    "message": span.status.message,
                    "flags": span.flags,
                }


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        words = self.path.split("/")
        with lock:
            if words[:3] == ["", "control", "answer"]:
                answer.update(status=int(words[3]), retry_after=words[4])
            self.reply(200, json.dumps(state).encode(), "application/json")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest.FromString(body)
        with lock:
            fields = {name.lower(): value for name, value in self.headers.items()}
            state["requests"].append({"path": self.path, "headers": fields, "unknown": unknown(request)})
            status, retry_after = answer["status"], answer["retry_after"]
            if status == 200:
                state["spans"].extend(spans(request))
            else:
                state["refused"] += 1
        self.reply(status, ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf", retry_after)

    def reply(self, status, body, kind, retry_after=""):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", int(sys.argv[1])), Collector)
print(server.server_port, flush=True)
server.serve_forever()
