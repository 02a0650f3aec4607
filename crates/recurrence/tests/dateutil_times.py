"""Occurrences of RRULEs by python-dateutil, for crates/recurrence/src/tests/differential.rs.

Reads a JSON array of cases from stdin: {"rule", "start": local time, "zone": IANA name, "last_year", "most", "corrected"}.
Writes a JSON array with one list for each: the first `most` instants after the start up to the end of `last_year`, as
seconds since 1970 in ascending order; or {"error": text}.

With `corrected`, the rule is rewritten so that dateutil follows RFC 5545. Each correction names the section of the RFC
from which dateutil deviates; the Rust test has an example of each.
"""

import datetime
import itertools
import json
import multiprocessing
import re
import sys
import zoneinfo

import dateutil.rrule
from dateutil.rrule import rrulestr

# The database of the package, not of the machine: the version that the crate chrono-tz has.
zoneinfo.reset_tzpath(to=[])

WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
DAY = datetime.timedelta(days=1)


def week_of_year(day, week_start):
    """A day's week number and its year's number of weeks (3.3.10, BYWEEKNO): week 1 has four days in the year."""

    def middle(day):
        return day - DAY * ((day.weekday() - week_start) % 7) + DAY * 3

    fourth = middle(day)
    last = middle(datetime.date(fourth.year, 12, 28))
    return (fourth.timetuple().tm_yday - 1) // 7 + 1, (last.timetuple().tm_yday - 1) // 7 + 1


class CorrectWeeks(dateutil.rrule._iterinfo):
    """3.3.10, BYWEEKNO: for weeks that span two years, dateutil uses the length of the wrong year for the last week of
    the previous year, and supports no negative week number but the last."""

    def rebuild(self, year, month):
        super().rebuild(year, month)
        if not self.rrule._byweekno:
            return
        first = datetime.date(year, 1, 1)
        for index in range(self.yearlen):
            nth, of = week_of_year(first + DAY * index, self.rrule._wkst)
            named = self.rrule._byweekno
            self.wnomask[index] = int(nth in named or nth - of - 1 in named)


def corrected(parts, start):
    """Returns the corrected rule and its start."""
    parts = dict(parts)
    frequency = parts["FREQ"]
    month_scope = frequency == "MONTHLY" or (frequency == "YEARLY" and "BYMONTH" in parts)
    if "BYSECOND" in parts:
        # 3.3.12: without leap seconds, second 60 is second 59. dateutil fails.
        parts["BYSECOND"] = ",".join("59" if second == "60" else second for second in parts["BYSECOND"].split(","))
    if frequency == "YEARLY" and "BYWEEKNO" in parts and not parts.keys() & {"BYDAY", "BYMONTHDAY", "BYYEARDAY"}:
        # 3.3.10: missing parts are taken from DTSTART. dateutil uses all days of the week.
        parts["BYDAY"] = WEEKDAYS[start.weekday()]
    if "BYDAY" in parts:
        days = parts["BYDAY"].split(",")
        if any(len(day) > 2 for day in days):
            # 3.3.10: the values of BYDAY are a union. dateutil requires a day to match both kinds of values.
            most = 5 if month_scope else 53
            days = [f"{nth}{day}" for day in days for nth in (range(1, most + 1) if len(day) == 2 else [""])]
        if month_scope:
            # 3.3.10: numbers are from 1 to 53, so a sixth Monday of a month does not exist. dateutil fails.
            days = [day for day in days if abs(int(day[:-2] or 1)) <= 5]
        if not days:
            return None, start
        parts["BYDAY"] = ",".join(days)
    if frequency == "WEEKLY" and "BYSETPOS" in parts:
        # 3.3.10: positions refer to the whole period. dateutil starts the first week at DTSTART.
        parts.setdefault("BYDAY", WEEKDAYS[start.weekday()])
        start -= DAY * ((start.weekday() - WEEKDAYS.index(parts.get("WKST", "MO"))) % 7)
    return parts, start


def times(case):
    start = datetime.datetime.fromisoformat(case["start"])
    parts = dict(part.split("=") for part in case["rule"].split(";"))
    first = start
    dateutil.rrule._iterinfo = PLAIN
    if case["corrected"]:
        dateutil.rrule._iterinfo = CorrectWeeks
        parts, first = corrected(parts, start)
        if parts is None:
            return []
    # If the rule starts before `start`, COUNT still counts from `start`.
    count = int(parts.pop("COUNT")) if first != start and "COUNT" in parts else None
    # The limit of dateutil's search.
    datetime.MAXYEAR = case["last_year"]
    zone = zoneinfo.ZoneInfo(case["zone"])
    text = ";".join(f"{name}={value}" for name, value in parts.items())
    found = rrulestr(text, dtstart=first.replace(tzinfo=zone))
    begin = start.replace(tzinfo=zone).timestamp()
    # The last period may end in the next year.
    found = itertools.takewhile(lambda time: time.year <= case["last_year"], found)
    found = itertools.islice((time for time in found if time.replace(tzinfo=None) >= start), count)
    # A skipped local time may sort after later ones, by at most a day, and may be duplicated.
    instants = (time.timestamp() for time in itertools.islice(found, case["most"] * 2 + 48))
    return sorted({int(instant) for instant in instants if instant > begin})[: case["most"]]


PLAIN = dateutil.rrule._iterinfo


def evaluate(case):
    try:
        return times(case)
    except (IndexError, ValueError) as error:
        # A rule without occurrences.
        if re.match("Invalid combination of interval|Invalid rrule byxxx generates an empty set", str(error)):
            return []
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    with multiprocessing.Pool() as pool:
        json.dump(pool.map(evaluate, json.load(sys.stdin), chunksize=100), sys.stdout)
