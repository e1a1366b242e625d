"""A deterministic simulator: the four services as they are, under a simulated AWS and a simulated GoPro.

One seed decides everything: the library, the syncs, every delay, order, duplicate, refusal and crash (`scenario`,
`faults`). A run (`world`) ends when nothing is left to happen, and what has to hold is checked all along (`invariants`)
and at the end (`ending`).

    python -m tools.simulator --seeds 10000            many seeds; fails at the first that violates an invariant
    python -m tools.simulator --seed 42 --trace        all that happens in one
    python -m tools.simulator --minutes 60             as many as there is time for
    python -m tools.simulator.planted_bugs             does it catch what it is there to catch?

The services are imported unchanged (`loading`), built by their own handlers from the synthesized template's settings
(`wiring`), and run as greenlets in virtual time (`virtual`). What they do to others passes `effects`, where faults
strike. A killed function is one whose every further effect is void, its clean-up included.

Known limits, which the invariants excuse: an upload whose maker is killed before it could write the upload's id down
is left to the bucket's lifecycle rule; the lease for a new session, and the mark of a sync that is being begun, need
clocks that agree within seconds; a sync one of whose pauses is on the bus for longer than a quarter of an hour closes
as stalled.
"""
