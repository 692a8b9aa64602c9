"""Signs a request as botocore, the library of AWS's own command, does. In: a JSON object; out: the header Authorization."""
import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

given = json.load(sys.stdin)
headers = {"X-Amz-Date": given["date"]}
if given["token"]:
    headers["X-Amz-Security-Token"] = given["token"]
request = AWSRequest("POST", given["url"], headers, given["body"].encode())
request.context["timestamp"] = given["date"]
auth = SigV4Auth(Credentials(given["id"], given["key"], given["token"]), given["service"], given["region"])
signed = auth.string_to_sign(request, auth.canonical_request(request))
scope = auth.scope(request)
names = auth.signed_headers(auth.headers_to_sign(request))
print(f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={auth.signature(signed, request)}")
