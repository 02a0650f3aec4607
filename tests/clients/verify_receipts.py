"""Verifies receipts of an erasure with `cryptography`, knowing nothing of Baton but RFC 7515, RFC 7517 and RFC 8037."""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


with open(sys.argv[1]) as file:
    signed = json.load(file)["receipts"]
with open(sys.argv[2]) as file:
    keys = {key["kid"]: Ed25519PublicKey.from_public_bytes(decode(key["x"])) for key in json.load(file)["keys"]}

requests = set()
for jws in signed:
    header, payload, signature = jws.split(".")
    head = json.loads(decode(header))
    assert head["alg"] == "EdDSA", head
    keys[head["kid"]].verify(decode(signature), f"{header}.{payload}".encode())
    receipt = json.loads(decode(payload))
    requests.add(receipt["request_id"])
    for line in receipt["tables"]:
        assert line["remaining"] == 0, line
        assert line["found"] == line["erased"] + line["kept"], line
        assert line["kept"] == 0 or line["reason"], line
assert len(requests) == 1, requests
print(f"{len(signed)} receipts of one request, nothing remains")
