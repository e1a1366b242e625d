"""What can go wrong, and what must then happen: sixty scenarios, the likely and the damaging ones first.

A test shows one by `@pytest.mark.scenario(number)`; `python -m tests.scenario_report` writes
`docs/failure-scenarios.md` from those marks.
"""

from enum import Flag, auto
from typing import NamedTuple


class Means(Flag):
    """What a scenario is shown with."""

    SIM = auto()  # the services' own code in simulated nights
    FAKE = auto()  # the fake GoPro Cloud, over HTTP
    EMU = auto()  # the deployed template on the embedded AWS
    PROXY = auto()  # the same, with a proxy between a function and AWS that breaks answers and connections
    PROP = auto()  # properties that hold for whatever Hypothesis comes up with
    TEMPLATE = auto()  # the synthesized template
    RLIMIT = auto()  # a process whose memory is limited
    UNIT = auto()


SIM, FAKE, EMU, PROXY, PROP, TEMPLATE, RLIMIT, UNIT = Means


class Scenario(NamedTuple):
    happens: str
    required: str
    by: Means  # what it has to be shown with, whatever else shows it


SCENARIOS: dict[int, Scenario] = {
    1: Scenario("Events are delivered two to five times", "The state is the same as after a single delivery", SIM),
    2: Scenario(
        "The downloader dies after S3 completed the object and before the library table says so",
        "The next try finds the object there and does not download it again",
        SIM | EMU,
    ),
    3: Scenario(
        "A worker dies after its result is in the library table and before it is on the bus",
        "The message is redelivered and the result is published",
        SIM,
    ),
    4: Scenario(
        "A worker dies after it published and before its message was deleted",
        "The same facts are published again and change nothing",
        SIM,
    ),
    5: Scenario("The session ends in the middle of a sync", "It is renewed once and every lane continues", FAKE),
    6: Scenario(
        "Five lanes are refused at the same time",
        "One renewal; the new session is not renewed again for ten minutes",
        SIM,
    ),
    7: Scenario(
        "The credentials are revoked, or the account wants a second factor",
        "The sync fails and says what to do; GoPro is asked once, so no account is locked",
        FAKE,
    ),
    8: Scenario(
        "A signed URL expires in the middle of a file",
        "A new URL is requested and reading continues at that byte",
        FAKE,
    ),
    9: Scenario("The CDN sends less than the file has", "The lengths differ, so nothing is completed", FAKE),
    10: Scenario(
        "A connection is cut within a part",
        "The missing bytes of that part are fetched again; the other parts stay",
        FAKE | PROXY,
    ),
    11: Scenario(
        "The function is killed within a part",
        "The next one continues with the parts that S3 has: no part is fetched again",
        SIM | EMU,
    ),
    12: Scenario(
        "A file takes longer than a function may run",
        "It is stored in several slices, whose number is limited",
        FAKE,
    ),
    13: Scenario(
        "More than sixteen pauses follow each other", "Lambda does not cut the chain; it reaches its end", SIM
    ),
    14: Scenario(
        "GoPro answers 429 with seconds or a date", "No request is sent earlier, and the wait is capped", FAKE
    ),
    15: Scenario("GoPro answers 5xx for a long time", "Waits of 30, 60, 120 … 300 s; the sync continues", FAKE),
    16: Scenario("EventBridge refuses some entries of a request", "Only the refused entries are sent again", PROXY),
    17: Scenario(
        "EventBridge takes the events and its answer is lost",
        "They are sent again under the same ids, so they count once",
        PROXY,
    ),
    18: Scenario("Results overtake the end of the listing", "The sync is not closed too early", SIM),
    19: Scenario("The end of the listing never arrives", "The sync is closed at its deadline and says why", SIM),
    20: Scenario(
        "A message's last try has failed", "It is kept as a dead letter, and a failure fact is published", SIM | EMU
    ),
    21: Scenario(
        "The function crashes at the last try and publishes nothing",
        "The review closes the sync as stalled and names the medium",
        SIM,
    ),
    22: Scenario("The schedule is switched off", "An alarm says that there was no sync for 26 hours", TEMPLATE),
    23: Scenario(
        "The clocks change, so the hour of the sync is missing or comes twice",
        "One sync for each local date, in ten zones over twenty years",
        PROP,
    ),
    24: Scenario("The schedule fires a second time", "The second time changes nothing", SIM),
    25: Scenario(
        "A sync is asked for by hand while the scheduled one runs",
        "Both close as complete and every medium is stored once",
        SIM,
    ),
    26: Scenario("Two summarizers work on one sync", "It is closed once", PROP),
    27: Scenario(
        "The summarizer dies after it sent the notification and before it marked it as sent",
        "The notification is sent once more, with the same summary id",
        SIM,
    ),
    28: Scenario("The topic refuses, or is gone", "It is tried again, an alarm goes off, and nothing is lost", PROXY),
    29: Scenario(
        "A result or a redrive comes after the sync was closed",
        "The medium is in the library, the sync is amended, and its closed summary stays as it was",
        SIM,
    ),
    30: Scenario("A redrive finds its upload aborted", "A fresh upload begins", EMU),
    31: Scenario("The library is empty", "The sync completes at once, with zeros", FAKE),
    32: Scenario("Libraries of 1, 200, 201 and 1,001 media", "Not one is missed where pages begin and end", FAKE),
    33: Scenario(
        "A library of 100,000 media",
        "The listing stays within the function's memory, pauses, continues, and defers what is too much",
        SIM,
    ),
    34: Scenario("The lister is killed between two pages", "The listing has no gap", SIM),
    35: Scenario(
        "While it is listed, the library changes, repeats or omits media, or has no last page",
        "The listing is proven complete or has a warning, and it ends",
        FAKE,
    ),
    36: Scenario(
        "The API is retired, or a field is missing or of another type",
        "The listing fails loudly; it never says that there is nothing new",
        FAKE,
    ),
    37: Scenario("The library is suddenly empty or much smaller", "A warning says so, and nothing is deleted", FAKE),
    38: Scenario(
        "A medium is deleted after it was listed",
        "It fails with the reason, and the sync is a partial success",
        FAKE,
    ),
    39: Scenario(
        "The original is replaced in the middle of its download", "It starts over; two versions never mix", FAKE
    ),
    40: Scenario(
        "The CDN ignores the range, sends another one, compresses, or sends no length",
        "The answer is recognised, and the file is read in another way or refused",
        FAKE,
    ),
    41: Scenario("The CDN sends a page of HTML with status 200", "It is never stored as the file", FAKE),
    42: Scenario(
        "Bytes are wrong and the length is right",
        "The origin's ETag does not prove that copy; where it proves nothing, the limit is documented",
        FAKE,
    ),
    43: Scenario("Two workers have one medium", "Epochs tell them apart, and one completes", SIM),
    44: Scenario(
        "S3 answers the completion with 412, 409, or 200 and an error",
        "The object is stored once, and nothing is overwritten",
        EMU | PROXY,
    ),
    45: Scenario(
        "S3 or DynamoDB slows down, or transactions collide", "They are tried again later; no count is lost", PROXY
    ),
    46: Scenario(
        "A message is not JSON, of an unknown version, or lacks a field",
        "It becomes a dead letter, and the others flow",
        PROP,
    ),
    47: Scenario(
        "An event is too large for the bus", "It is refused before anything is sent, and the error says so", UNIT
    ),
    48: Scenario("Old and new versions of the code run side by side", "Each reads what the other wrote", SIM),
    49: Scenario(
        "A file name tries to break out, is far too long, or is in any alphabet", "A safe key that fits", PROP
    ),
    50: Scenario("Two media have the same name and date", "They have different keys", PROP),
    51: Scenario("A redirect leads to the machine's own network or to a foreign host", "It is not followed", FAKE),
    52: Scenario(
        "Many connections with large parts", "They fit into the memory that was set: enforced and measured", RLIMIT
    ),
    53: Scenario("A function is used again after another invocation", "Nothing is left from the earlier one", UNIT),
    54: Scenario(
        "Clocks are five minutes apart, or a capture date makes no sense",
        "At most one worker completes a medium, and its key has a date to fall back on",
        SIM,
    ),
    55: Scenario(
        "The credentials secret is missing, empty, malformed or to be deleted",
        "The failure names the secret and the fix",
        EMU,
    ),
    56: Scenario("Tokens, passwords and signed URLs pass through everything", "No output shows any of them", EMU),
    57: Scenario("The archive of events is replayed over a closed sync", "Nothing changes", SIM),
    58: Scenario(
        "An object is removed by hand", "`verify` reports it, and it is fetched again only when asked for", EMU
    ),
    59: Scenario("The library table is lost", "`adopt` rebuilds it from the bucket without a download", EMU),
    60: Scenario(
        "A role loses any one of its grants",
        "Something promised breaks: for three grants here, for each in `make least-privilege`; none is for everything",
        EMU,
    ),
}
