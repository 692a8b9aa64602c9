"""Reads requests with the official SDK, one a line: {"headers": {...}, "body": base64}; writes the events that they are."""

import base64
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event


def messages(headers, body):
    """One for each event: the SDK reads no batches, but what stands in one is a structured event."""
    if not headers.get("content-type", "").startswith("application/cloudevents-batch+json"):
        return [HTTPMessage(headers, body)]
    structured = {"content-type": "application/cloudevents+json"}
    return [HTTPMessage(structured, json.dumps(event).encode()) for event in json.loads(body)]


for line in sys.stdin:
    request = json.loads(line)
    for message in messages(request["headers"], base64.b64decode(request["body"])):
        event = from_http_event(message)
        attributes = {name: value if isinstance(value, str) else value.isoformat() for name, value in event.get_attributes().items()}
        data = event.get_data()
        if isinstance(data, (bytes, bytearray)):
            data = {"base64": base64.b64encode(data).decode()}
        print(json.dumps({"attributes": attributes, "data": data}), flush=True)
