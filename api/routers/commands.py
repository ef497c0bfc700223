"""Commands down to devices."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import devices as examples
from api.identity.auth import Caller, Writer
from api.routers.devices import DeviceName
from api.schemas.devices import CommandInput, CommandsQuery, WaitQuery
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.services import Services, services_of
from tracking.access import Principal
from tracking.commands import MAX_PAYLOAD_BYTES, Command
from tracking.feed import EventRecord, commands_notice, encode_event, events_channel
from tracking.fence_input import stored_json
from tracking.store.commands import (
    NewCommand,
    cancel_command,
    get_command,
    list_commands,
    queue_command,
)

router = APIRouter(prefix="/v1/devices/{name}/commands", tags=["commands"])


@router.get(
    "",
    **documented("listCommands", Page[Command], example=examples.page_of(examples.COMMAND_DONE)),
)
async def commands(
    request: Request, caller: Caller, name: DeviceName, query: Annotated[CommandsQuery, Query()]
) -> Response:
    """A device's commands, the latest first."""
    found = await services_of(request).pool.run(
        list_commands,
        caller.tenant_id,
        name,
        states=query.state,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    if found is None:
        raise not_found(f"device {name!r}")
    return paged(
        found, query.limit, lambda last: number_cursor(last[0]), lambda numbered: numbered[1]
    )


@router.post(
    "",
    **documented(
        "queueCommand",
        Command,
        example=examples.COMMAND,
        status=202,
        body=CommandInput,
        body_example=examples.COMMAND_INPUT,
        problems=[409],
        headers=["Location"],
    ),
)
async def queue(
    request: Request, caller: Writer, name: DeviceName, _: Annotated[NoQuery, Query()]
) -> Response:
    """Queue a command; it is sent when the device is there, in the order of queueing.

    Every change is an event, `command.queued` and so on.
    """
    given = decoded(await request.body(), CommandInput)
    new = NewCommand(
        id=uuid4(),
        name=given.name,
        payload=_payload(given),
        author=caller.name,
        timeout_s=given.timeout_s,
        ttl_s=given.ttl_s,
    )
    services = services_of(request)
    done = await services.pool.run(queue_command, (caller.tenant_id, caller.tenant), name, new)
    if done is None:
        raise not_found(f"device {name!r}")
    command, events = done
    await _publish(services, caller, events, commands_notice(caller.tenant))
    response = answer(command)
    response.status_code = 202
    response.headers["Location"] = f"/v1/devices/{name}/commands/{command.id}"
    return response


@router.get(
    "/{id}",
    **documented("getCommand", Command, example=examples.COMMAND_DONE),
)
async def command(
    request: Request,
    caller: Caller,
    name: DeviceName,
    id: UUID,  # noqa: A002 -- the name in the path, and so in problems, as below
    query: Annotated[WaitQuery, Query()],
) -> Response:
    """One command; with `wait_s` as soon as it has ended, or as it is after that time."""
    services = services_of(request)

    async def look() -> Command:
        found = await services.pool.run(get_command, caller.tenant_id, name, id)
        if found is None:
            raise not_found(f"command {id} of device {name!r}")
        return found

    return answer(await services.command_waits.ended(caller.tenant, id, look, query.wait_s))


@router.delete("/{id}", **documented("cancelCommand", status=204, problems=[409]))
async def cancel(
    request: Request,
    caller: Writer,
    name: DeviceName,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Cancel a command that is still queued; 409 for one that is being sent or was."""
    services = services_of(request)
    events = await services.pool.run(cancel_command, caller.tenant_id, name, id)
    if events is None:
        raise not_found(f"command {id} of device {name!r}")
    await _publish(services, caller, events)
    return Response(status_code=204)


def _payload(given: CommandInput) -> bytes:
    """The payload as it is kept.

    Raises:
        Problem: 422, it is too long for a device.
        InputError: it holds what the database cannot keep.
    """
    if given.payload is None:
        return b"null"
    payload = stored_json(given.payload, "payload")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Problem(422, f"payload: at most {MAX_PAYLOAD_BYTES:,} bytes of JSON", field="payload")
    return payload


async def _publish(
    services: Services,
    caller: Principal,
    events: list[EventRecord],
    *more: tuple[str, bytes],
) -> None:
    channel = events_channel(caller.tenant)
    await services.publisher.publish([*((channel, encode_event(event)) for event in events), *more])
