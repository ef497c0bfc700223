"""Workers that divide a plain subscription leave nothing between them."""

from ingest.split import Split
from tests.integration.ingest_rig import Rig, message

MESSAGES = [
    message(f"wm/default/d{i}/{channel}", b"{}") for i in range(200) for channel in ("pos", "tag")
]


async def test_every_device_is_one_workers_once_all_share(database_url: str) -> None:
    workers = [Split(index, 3) for index in range(3)]
    async with Rig(database_url) as rig:
        for _ in range(3):
            for worker in workers:
                await worker.look(rig.conn, drained=True)
    assert all(worker.active for worker in workers)
    shares = [{m.topic for m in worker.mine(MESSAGES)} for worker in workers]
    assert sum(map(len, shares)) == len(set().union(*shares)) == len(MESSAGES)
    assert min(map(len, shares)) > len(MESSAGES) / 6
    for share in shares:
        devices = {topic.rsplit(b"/", 1)[0] for topic in share}
        assert len(share) == 2 * len(devices)


async def test_nothing_is_left_to_a_worker_that_has_no_session_yet(database_url: str) -> None:
    early, late = Split(0, 2), Split(1, 2)
    async with Rig(database_url) as rig:
        for _ in range(5):
            await early.look(rig.conn, drained=True)
        assert len(early.mine(MESSAGES)) == len(MESSAGES)
        await late.look(rig.conn, drained=True)
        # What was drained before the other had its session proves nothing.
        await early.look(rig.conn, drained=True)
        assert not early.active
        await early.look(rig.conn, drained=False)
        assert not early.active
        await early.look(rig.conn, drained=True)
        assert early.active


async def test_a_worker_that_shared_before_shares_at_once_and_anew_after_a_change(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        pair = [Split(0, 2), Split(1, 2)]
        for _ in range(3):
            for worker in pair:
                await worker.look(rig.conn, drained=True)
        returned = Split(0, 2)
        await returned.look(rig.conn, drained=False)
        assert returned.active

        trio = [Split(index, 3) for index in range(3)]
        await trio[0].look(rig.conn, drained=False)
        assert not trio[0].active
        for _ in range(3):
            for worker in trio:
                await worker.look(rig.conn, drained=True)
        assert all(worker.active for worker in trio)
        back = Split(0, 2)
        await back.look(rig.conn, drained=False)
        assert not back.active


def test_a_worker_alone_takes_everything() -> None:
    assert Split(0, 1).alone
    assert Split(0, 1).mine(MESSAGES) == MESSAGES
