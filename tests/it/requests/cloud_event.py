"""Reads requests with the official SDK, one a line: {"headers": {...}, "body": base64}; writes the events that they are."""

import base64
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event

for line in sys.stdin:
    request = json.loads(line)
    event = from_http_event(HTTPMessage(request["headers"], base64.b64decode(request["body"])))
    attributes = {name: value if isinstance(value, str) else value.isoformat() for name, value in event.get_attributes().items()}
    data = event.get_data()
    if isinstance(data, (bytes, bytearray)):
        data = {"base64": base64.b64encode(data).decode()}
    print(json.dumps({"attributes": attributes, "data": data}), flush=True)
