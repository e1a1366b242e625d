"""The library's page in the bucket: written when a sync has closed or was amended, and by the review when it is stale.

A failure to write it is logged, and never keeps an announcement back: the next close or review writes the page again.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from services.shared.clock import Clock, iso
from services.shared.envelope import scheduled_sync_id
from services.shared.events import SessionEnding
from services.shared.library.records import Status
from services.shared.logs import where, why
from services.shared.schedule import next_daily
from services.summarizer.page.library import CATCHES_UP, NIGHTS, Known, library_page, named_as_missing
from services.summarizer.page.pages import Place

if TYPE_CHECKING:
    from services.shared.library.records import LibraryReader
    from services.summarizer.reports_bucket import ReportsBucket
    from services.summarizer.syncs_table import SyncsTable

logger = Logger(child=True)

_LASTS = timedelta(days=1)  # without a schedule: the page says for how many days media have been missing
_RUNNING = 10  # the most open syncs that are read for the page


class LibraryPage:
    """Keeps the page up to date."""

    def __init__(
        self,
        *,
        syncs: "SyncsTable",
        library: "LibraryReader",
        reports: "ReportsBucket",
        place: Place,
        daily_hour: int | None,
        clock: Clock,
    ) -> None:
        """`daily_hour`: the local one of the daily sync; None if the schedule requests none."""
        self._syncs = syncs
        self._library = library
        self._reports = reports
        self._place = place
        self._daily_hour = daily_hour
        self._clock = clock

    def write(self) -> None:
        """Write the page. A failure is logged, and makes the page stale."""
        try:
            self._syncs.insist(self._write)
        except Exception as error:  # noqa: BLE001  # the page never keeps anything else back
            logger.warning("library_page_failed", why=why(error), at=where(error))
            self._note(stale_at="")

    def write_if_stale(self) -> None:
        """Write the page if time alone has changed what it has to say."""
        try:
            is_stale = self._syncs.page().stale_at <= iso(self._clock.now())
        except Exception as error:  # noqa: BLE001  # likewise
            logger.warning("library_page_unknown", why=why(error))
        else:
            if is_stale:
                self.write()

    def warn(self, warning: SessionEnding) -> None:
        """Show from now on that the session ends."""
        self._note(warning=warning)
        self.write()

    def _write(self) -> None:
        """Write the page, once. Raises `Conflict` if another summarizer has written it meanwhile.

        That one may have read an older history, and its page may have taken the place of this one.
        """
        before, now = self._syncs.page(), self._clock.now()
        if not before.imported:
            days = [now - timedelta(days=number) for number in range(NIGHTS)]
            self._syncs.import_into_history([scheduled_sync_id(day, self._place.zone) for day in days])
        known = read_known(
            self._syncs, self._library, place=self._place, daily_hour=self._daily_hour, warning=before.warning, now=now
        )
        self._reports.store_library_page(library_page(known))
        stale_at = known.next_sync + CATCHES_UP if known.next_sync else now + _LASTS
        self._syncs.keep_page(before, replace(before, stale_at=iso(stale_at), imported=True))

    def _note(self, **changes: Any) -> None:
        """Change what is known of the page. A failure is logged."""

        def step() -> None:
            before = self._syncs.page()
            self._syncs.keep_page(before, replace(before, **changes))

        try:
            self._syncs.insist(step)
        except Exception as error:  # noqa: BLE001  # likewise
            logger.warning("library_page_not_noted", why=why(error))


def read_known(
    syncs: "SyncsTable",
    library: "LibraryReader",
    *,
    place: Place,
    daily_hour: int | None,
    warning: SessionEnding | None,
    now: datetime,
) -> Known:
    """Return what the page is made of, as the tables have it now.

    `daily_hour`: the local one of the daily sync; None if the schedule requests none. `warning`: the last one about the
    session.
    """
    history = syncs.recent(NIGHTS)
    unsettled = [syncs.read(sync_id) for sync_id in syncs.unsettled()[:_RUNNING]]
    records = library.media(list(named_as_missing(history)))
    return Known(
        history=history,
        running=[sync for sync in unsettled if sync and sync.is_open],
        # A stored medium with a reason lacks files that GoPro has added to it.
        stored={one.media_id for one in records.values() if one.status == Status.STORED and not one.reason},
        warning=warning,
        next_sync=None if daily_hour is None else next_daily(daily_hour, place.zone, now),
        now=now,
        zone=place.zone,
        env=place.env,
        memory_mb=place.memory_mb,
    )
