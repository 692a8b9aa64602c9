"""Verifies one webhook with the library that its receiver would use.

What came stands on standard input, as JSON: how, secret, headers (names in lower case), body (base64). Exit status: 0 if
the signature is good, 1 if not.
"""

import base64
import json
import sys


def standard(secret, headers, body):
    from standardwebhooks import Webhook

    Webhook(secret).verify(body, headers)
    return True


def slack(secret, headers, body):
    from slack_sdk.signature import SignatureVerifier

    return SignatureVerifier(secret).is_valid_request(body, headers)


request = json.load(sys.stdin)
verify = {"standard": standard, "slack": slack}[request["how"]]
if not verify(request["secret"], request["headers"], base64.b64decode(request["body"])):
    sys.exit("the signature is wrong")
