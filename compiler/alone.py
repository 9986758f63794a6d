"""Which tasks run by themselves: no other stream can be at work while they are."""

from compiler.schedule import Launch, Record, Schedule, Wait


def alone(schedule: Schedule) -> set[str]:
    """Tasks that every launch of another stream is ordered before or after, by events.

    Such a task may use the cores that the other streams leave idle.
    """
    clocks = [[0] * schedule.streams for _ in range(schedule.streams)]
    events: dict[int, list[int]] = {}
    launches: list[list[tuple[str, list[int]]]] = [[] for _ in range(schedule.streams)]
    for action in schedule.actions:
        own = clocks[action.stream]
        if isinstance(action, Launch):
            own[action.stream] += 1
            launches[action.stream].append((action.task, list(own)))
        elif isinstance(action, Record):
            events[action.event] = list(own)
        elif isinstance(action, Wait):
            own[:] = map(max, own, events[action.event])
    return {
        task
        for stream, mine in enumerate(launches)
        for place, (task, clock) in enumerate(mine, start=1)
        if all(
            clock[other] == len(theirs) or theirs[clock[other]][1][stream] >= place
            for other, theirs in enumerate(launches)
            if other != stream
        )
    }
