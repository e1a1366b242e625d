"""The path of one medium through the downloader: the files it enters, and the files it enters again.

`python -m tools.medium_path` runs the unit test that stores a video, and follows the calls from `Downloader.download`
to its return, which is from MediaDiscovered to MediaDownloaded. A file is entered again
when a call leads back into it while the file still waits for that call: each such callback is one more thing to keep in
mind.
"""

import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

import pytest

from tools.template import ROOT

TEST = "tests/unit/test_download.py::test_a_video_is_stored_byte_for_byte_and_its_etag_proves_it"
SERVICES = str(ROOT / "services")
ENGINE = "downloader/transfer/"
DOWNLOAD = ("downloader/reactions.py", "download")


def service_file(code: CodeType) -> str | None:
    """Return the file below services/ that contains the code; None for all other code."""
    path = code.co_filename
    return str(Path(path).relative_to(SERVICES)) if path.startswith(SERVICES) else None


class Route:
    """The files and functions that a profiled run has entered."""

    def __init__(self) -> None:
        self.entered: defaultdict[str, set[str]] = defaultdict(set)  # functions, by file
        self.entered_again: defaultdict[str, set[str]] = defaultdict(set)
        self._downloading = False

    def follow(self, frame: FrameType, event: str, _: object) -> None:
        """Note one call. The interpreter calls this."""
        file = service_file(frame.f_code)
        if (file, frame.f_code.co_name) == DOWNLOAD and event in ("call", "return"):
            self._downloading = event == "call"
        if not self._downloading or event != "call" or file is None or frame.f_code.co_name in ("__init__", "<module>"):
            return
        callers: list[str] = []
        outer = frame.f_back
        while outer is not None:
            caller = service_file(outer.f_code)
            callers += [caller] if caller else []
            outer = outer.f_back
        if callers and callers[0] == file:
            return
        self.entered[file].add(frame.f_code.co_name)
        if file in callers:
            self.entered_again[file].add(f"{frame.f_code.co_name} from {callers[0]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> object:
        """Follow the test, its threads included."""
        threading.setprofile(self.follow)
        sys.setprofile(self.follow)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def main() -> int:
    route = Route()
    if status := pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", str(ROOT / TEST)], plugins=[route]):
        return int(status)
    own = [file for file in route.entered if not file.startswith(ENGINE)]
    print(f"\n{len(route.entered)} files, {len(route.entered) - len(own)} of them of the transfer engine")
    for file, functions in route.entered.items():
        print(f"  {file:<36} {', '.join(sorted(functions))}")
    print(f"\nentered again while they wait: {sum(map(len, route.entered_again.values()))}")
    for file, functions in route.entered_again.items():
        print(f"  {file:<36} {', '.join(sorted(functions))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
