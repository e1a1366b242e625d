"""Shrinks a failing run: fewer faults and media, with the same violation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from tools.simulator.scenario import Options, scenario
from tools.simulator.world import Outcome, run

_T = TypeVar("_T")
_MOST_RUNS = 120
_PHASES = ("redrive", "replay", "another night")


def shrink(failing: Outcome) -> Outcome:
    """Return the smallest run found that violates the same invariants."""
    wanted = {violation.invariant for violation in failing.violations}
    search = _Search(failing, wanted)
    everything = frozenset(strike.opportunity for strike in failing.strikes)
    search.attempt(replace(failing.options, only=everything))
    for phase in _PHASES:
        search.attempt(replace(search.best.options, without=search.best.options.without | {phase}))
    search.fewer(
        list(range(len(scenario(failing.seed).actions))), lambda kept: replace(search.best.options, actions=kept)
    )
    search.fewer(sorted(everything), lambda kept: replace(search.best.options, only=kept))
    for media in range(len(scenario(failing.seed).library)):
        if search.attempt(replace(search.best.options, media=media)):
            break
    struck = sorted(strike.opportunity for strike in search.best.strikes)
    search.fewer(struck, lambda kept: replace(search.best.options, only=kept))
    return search.best


class _Search:
    def __init__(self, failing: Outcome, wanted: set[str]) -> None:
        self.best = failing
        self._wanted = wanted
        self._runs = 0

    def attempt(self, options: Options) -> bool:
        """Return whether the run still fails with these options, and keep it as the best if so."""
        if self._runs >= _MOST_RUNS:
            return False
        self._runs += 1
        outcome = run(self.best.seed, options)
        if not self._wanted & {violation.invariant for violation in outcome.violations}:
            return False
        self.best = outcome
        return True

    def fewer(self, all_: Sequence[_T], options: Callable[[frozenset[_T]], Options]) -> None:
        """Remove as many as possible: first halves, then quarters, finally one by one."""
        kept = list(all_)
        size = max(1, len(kept) // 2)
        while kept:
            at = 0
            while at < len(kept):
                rest = kept[:at] + kept[at + size :]
                if self.attempt(options(frozenset(rest))):
                    kept = rest
                else:
                    at += size
            if size == 1:
                return
            size //= 2
