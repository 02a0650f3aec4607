"""Verifies a message with PyPI's `standardwebhooks`, as a receiver does.

Standard input is one JSON object, `{"secret": "whsec_...", "headers": {"webhook-id": "...", ...}, "body": "..."}`. Prints
the message's JSON. A message that is not valid ends it with status 1 and the reason.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

message = json.load(sys.stdin)
try:
    print(json.dumps(Webhook(message["secret"]).verify(message["body"], message["headers"])))
except WebhookVerificationError as error:
    sys.exit(str(error))
