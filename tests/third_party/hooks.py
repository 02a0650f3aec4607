"""Schemathesis hooks for Baton: sign-in, formats, and refusals that are permitted for well-formed requests.

BATON_EMAIL and BATON_PASSWORD are the credentials of the first user.
"""

import json
import os
import urllib.error
import urllib.request

import schemathesis
from hypothesis import strategies as st

# JSON Schema does not define these formats, so the generator needs examples.
schemathesis.openapi.format("time-zone", st.sampled_from(["Europe/Berlin", "UTC", "Asia/Kolkata", "America/St_Johns"]))
schemathesis.openapi.format("recurrence-rule", st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO", "FREQ=MONTHLY;BYMONTHDAY=-1"]))
schemathesis.openapi.format("emoji", st.sampled_from(["👍", "🎉", "❤️"]))
# Only a previous response has a page token; without one the list starts at the beginning.
schemathesis.openapi.format("page-token", st.just(""))

# Error reasons that depend on stored data or on other parts of the request, which JSON Schema cannot express. The
# documentation describes each of them.
STATE = {
    "ASSIGNEE_INVALID",  # the user is not a member
    "ATTACHMENT_TYPE_NOT_ALLOWED",  # the installation's list
    "ATTACHMENT_TOO_LARGE",  # the installation's limit
    "ATTACHMENT_MISMATCH",  # depends on the uploaded content
    "CANCELLATION_INVALID",  # a valid token comes only by mail
    "EXPORT_TOO_LARGE",  # depends on the number of rows
    "HAND_OVER_INVALID",  # the user is not a member
    "IDEMPOTENCY_KEY_REUSED",  # depends on an earlier request with the key
    "LINK_INVALID",  # a valid token comes only by mail
    "MANAGER_INVALID",  # the user is not a member
    "OAUTH_STATE_INVALID",  # a valid state comes only from a sign-in
    "PAGE_TOKEN_INVALID",  # a valid token comes only from a list
    "PASSWORD_TOO_WEAK",  # a strength estimate
    "TOO_MANY_TASKS",  # depends on the number of tasks
    "VERIFICATION_INVALID",  # a valid code comes only by mail
    "WATCHER_INVALID",  # the user is not a member
}

# Field errors that JSON Schema cannot express, as (first segment of the field, substring of the message), with the
# cause.
FIELDS = {
    ("ended_at", "after the start"): "compares two fields",
    ("ended_at", "24 hours"): "compares two fields",
    ("to", "before from"): "compares two fields",
    ("to", "after options.from"): "compares two fields",
    ("working_hours", "interval"): "compares two parts of a value",
    ("remind_at", "in the past"): "compares with the clock",
    ("at", "in the past"): "compares with the clock",
    ("before_seconds", "in the past"): "compares with the due time and the clock",
    ("expires_at", "future"): "compares with the clock",
    ("started_at", "future"): "compares with the clock",
    ("ended_at", "future"): "compares with the clock",
    ("due_at", "recurring"): "goes with recurrence_rule",
    ("due_at", "a year ago"): "compares with the clock",
    ("recurrence_timezone", "without a recurrence_rule"): "goes with recurrence_rule",
    ("as_of", "except for Kanban"): "goes with one layout of the board",
    ("search", "options.as_of"): "goes with one layout of the board",
    ("user_id", "for the source"): "goes with one source of a view",
    ("user_id", "for a user's board"): "goes with one kind of board",
    ("task_id", "does not concern tasks"): "goes with some permissions",
    ("task_ids", "without a filter"): "either these or a filter",
    ("filter", "task_ids"): "either this or task_ids",
    ("before_id", "not both"): "either this or after_id",
    ("at", "not both"): "either this or before_seconds",
    ("reason", "for a pause"): "goes with some actions",
    ("reason", "must be empty"): "goes with some actions",
    ("assigned_to", "must be empty"): "goes with some actions",
    ("assigned_to", "must not be empty"): "goes with some actions",
    ("task", "must be empty"): "goes with some actions",
    ("task", "must set a field"): "goes with some actions",
    ("clear", "must be empty"): "goes with some actions",
    ("invitations", "must be unique"): "compares items by one member",
    ("options", "unique"): "compares items by one member",
    ("options", "repeated"): "compares items by one member",
    ("custom_fields", ""): "limits on depth, size and digits of free JSON, and the account's own fields",
    ("preferences", ""): "limits on depth, size and digits of free JSON",
    ("user_id", "another member"): "compares with the caller",
    ("timezone", "IANA"): "names in a database that changes",
    ("recurrence_timezone", "IANA"): "names in a database that changes",
    ("recurrence_rule", ""): "a grammar of its own (RFC 5545)",
    ("emoji", "must be an emoji"): "a list of Unicode's that changes",
    ("scopes", "must be one of"): "a table of permissions",
    ("language", "word forms"): "names in a list that changes",
    ("language", "BCP 47"): "names in a list that changes",
    ("page", "within the first"): "the product of page and per_page",
    ("page", "beyond"): "the product of page and per_page",
    ("logo_url", "https"): "a URL without credentials",
    ("avatar_url", "https"): "a URL without credentials",
    # Any field of text: which characters are visible, and how many marks a character may have, are tables of Unicode's.
    ("", "a visible character"): "a table of Unicode's",
    ("", "combining marks"): "a table of Unicode's",
    ("first_name", "must not be empty"): "what is left after trimming",
}


class Person:
    """Signs in again if a call has ended the session."""

    def __init__(self):
        self.root = os.environ["BATON_API"]
        self.token = None

    def current(self):
        if self.token is None or self.call("/v1/users/me") != 200:
            body = json.dumps({"email": os.environ["BATON_EMAIL"], "password": os.environ["BATON_PASSWORD"]}).encode()
            request = urllib.request.Request(self.root + "/v1/auth/login", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                self.token = json.load(answer)["access_token"]
        return self.token

    def call(self, path):
        request = urllib.request.Request(self.root + path, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


@schemathesis.auth(refresh_interval=20)
class Bearer:
    person = None

    def get(self, case, ctx):
        Bearer.person = Bearer.person or Person()
        return Bearer.person.current()

    def set(self, case, data, ctx):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.check
def form_is_accepted(ctx, response, case):
    """Checks that a request that is valid by the schema is not refused for its form."""
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in (400, 413, 415, 422):
        return
    problem = json.loads(response.content)
    if problem["reason"] in STATE:
        return
    errors = [
        error
        for error in problem.get("errors", [])
        if not any(
            name in ("", *(part.split("[")[0] for part in error["field"].split(".")))
            for name, words in FIELDS
            if words in error["message"]
        )
    ]
    assert problem["reason"] == "VALIDATION_FAILED" and not errors, f"refused though the schema allows it: {problem}"
