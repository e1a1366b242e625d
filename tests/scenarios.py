"""What can go wrong, and what must come of it: sixty scenarios, the likely and the damaging ones first.

A test shows one by `@pytest.mark.scenario(number)`; `docs/failure-scenarios.md` is written from those marks and from
how their tests ended (tests/scenario_report.py).
"""

from typing import NamedTuple


class Scenario(NamedTuple):
    happens: str
    required: str


SCENARIOS: dict[int, Scenario] = {
    1: Scenario("Events are delivered two to five times", "The state is the one that a single delivery leaves"),
    2: Scenario(
        "The downloader dies when S3 has completed the object and the library table does not know it yet",
        "The next try finds the object there and does not download it again",
    ),
    3: Scenario(
        "A worker dies after its result is in the library table and before it is on the bus",
        "The message comes again and the result is published",
    ),
    4: Scenario(
        "A worker dies after it published and before its message was deleted",
        "The same facts come once more and change nothing",
    ),
    5: Scenario("The session ends in the middle of a sync", "It is renewed once and every lane goes on"),
    6: Scenario(
        "Five lanes are refused at the same time",
        "One renewal, and a session that young is not renewed again for ten minutes",
    ),
    7: Scenario(
        "The credentials are revoked, or the account wants a second factor",
        "The sync fails and says what to do; GoPro is asked once, so no account is locked",
    ),
    8: Scenario("A signed URL expires in the middle of a file", "It is resolved anew and reading goes on at that byte"),
    9: Scenario("The CDN sends less than the file has", "The lengths differ, so nothing is completed"),
    10: Scenario("A connection is cut within a part", "What is missing of that part is fetched again, the others stay"),
    11: Scenario("The function is killed within a part", "The next one goes on from S3's parts; at most one is lost"),
    12: Scenario(
        "A file takes longer than a function may run",
        "It is stored in several slices, and there is an end to their number",
    ),
    13: Scenario("More than sixteen pauses follow each other", "The chain is not cut, or it ends in order"),
    14: Scenario(
        "GoPro answers 429 and names seconds or a date", "Nobody asks again earlier, and there is a longest wait"
    ),
    15: Scenario("Answers of 5xx for a long time", "Waits of 30, 60, 120 … 300 s; the sync lives on"),
    16: Scenario("EventBridge refuses some entries of a request", "Those alone are sent again"),
    17: Scenario(
        "EventBridge takes the events and its answer is lost",
        "They are sent again under the same ids, so they count once",
    ),
    18: Scenario("Results overtake the end of the listing", "The sync is not closed too early"),
    19: Scenario("The end of the listing never arrives", "The sync is closed at its deadline and says why"),
    20: Scenario("A message's last try has failed", "It is kept as a dead letter, and the failure is told as a fact"),
    21: Scenario(
        "The function crashes at the last try and tells nothing",
        "The review closes the sync as stalled and names the medium",
    ),
    22: Scenario("The schedule is switched off", "An alarm says that there was no sync for 26 hours"),
    23: Scenario(
        "The clocks change, so the hour of the sync is missing or comes twice",
        "One sync for each local date, in ten zones over twenty years",
    ),
    24: Scenario("The schedule fires a second time", "Nothing comes of the second time"),
    25: Scenario(
        "A sync is asked for by hand while the scheduled one runs",
        "Both close rightly and every medium is stored once",
    ),
    26: Scenario("Two summarizers work on one sync", "It is closed once"),
    27: Scenario(
        "The summarizer dies after it notified and before it noted that",
        "The notification is sent once more, with the same summary id",
    ),
    28: Scenario("The topic refuses, or is gone", "It is tried again, an alarm rings, and nothing is lost"),
    29: Scenario(
        "A result or a redrive comes after the sync was closed",
        "The medium is in the library, the sync is amended, and its closed summary stays as it was",
    ),
    30: Scenario("A redrive finds its upload aborted", "A fresh upload begins"),
    31: Scenario("The library is empty", "The sync completes at once, with zeros"),
    32: Scenario("Libraries of 1, 200, 201 and 1,001 media", "Not one is missed where pages begin and end"),
    33: Scenario(
        "A library of 100,000 media",
        "The listing stays within the function's memory, pauses, goes on, and defers what is too much",
    ),
    34: Scenario("The lister is killed between two pages", "The listing has no gap"),
    35: Scenario(
        "While it is listed, the library changes, repeats or omits media, or has no last page",
        "The listing is proven complete or bears a warning, and it ends",
    ),
    36: Scenario(
        "The API is retired, or a field is missing or of another type",
        "The listing fails loudly; it never says that there is nothing new",
    ),
    37: Scenario("The library is suddenly empty or much smaller", "A warning says so, and nothing is deleted"),
    38: Scenario(
        "A medium is deleted after it was listed",
        "It fails because its source is gone, which is nothing critical",
    ),
    39: Scenario("The original is replaced in the middle of its download", "It starts over; two versions never mix"),
    40: Scenario(
        "The CDN ignores the range, sends another one, compresses, or tells no length",
        "That is noticed, and the file is read otherwise or refused",
    ),
    41: Scenario("The CDN sends a page of HTML with status 200", "It is never stored as the file"),
    42: Scenario(
        "Bytes are wrong and the length is right",
        "The origin's ETag does not prove that copy; where it proves nothing, the limit is documented",
    ),
    43: Scenario("Two workers have one medium", "Epochs tell them apart, and one completes"),
    44: Scenario("S3 answers the completion with 412, 409, or 200 and an error", "Each is met as it has to be"),
    45: Scenario("S3 or DynamoDB slows down, or transactions collide", "They are tried again later; no count is lost"),
    46: Scenario(
        "A message is not JSON, of an unknown version, or lacks a field",
        "It becomes a dead letter, and the others flow",
    ),
    47: Scenario("An event is too large for the bus", "It is refused before anything is sent, and the error says so"),
    48: Scenario("Old and new versions of the code run side by side", "Each reads what the other wrote"),
    49: Scenario("A file name tries to break out, is far too long, or is in any alphabet", "A safe key that fits"),
    50: Scenario("Two media have the same name and date", "They have different keys"),
    51: Scenario("A redirect leads to the machine's own network or to a foreign host", "It is not followed"),
    52: Scenario("Many connections with large parts", "They fit into the memory that was set: enforced and measured"),
    53: Scenario("A function is used again after another invocation", "Nothing of the former one is left"),
    54: Scenario(
        "Clocks are five minutes apart, or a capture date makes no sense",
        "At most one worker completes a medium, and its key has a date to fall back on",
    ),
    55: Scenario(
        "The credentials secret is missing, empty, malformed or to be deleted",
        "The failure names the secret and the fix",
    ),
    56: Scenario("Tokens, passwords and signed URLs pass through everything", "No output shows any of them"),
    57: Scenario("The archive of events is replayed over a closed sync", "Nothing changes"),
    58: Scenario("An object is removed by hand", "`verify` reports it, and it is fetched again only when asked for"),
    59: Scenario("The library table is lost", "`adopt` rebuilds it from the bucket without a download"),
    60: Scenario(
        "A role loses any one of its grants",
        "An end-to-end run fails, so each grant is needed; none is for everything",
    ),
}

# Why a scenario has no test: it has to be one or the other.
NO_TEST_YET: dict[int, str] = {
    58: "there is no command `verify` yet",
    59: "there is no command `adopt` yet",
    60: "no run evaluates the roles' policies yet",
}
