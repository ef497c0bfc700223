"""Rules: read, saved, deleted, and tried on what has happened."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import name_cursor, read_name_cursor
from api.conventions.etags import changed_meanwhile, replaced_versions, tagged, wanted_versions
from api.conventions.ids import in_path
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import alerts as examples
from api.examples.fleet import page_of
from api.identity.auth import Caller, Writer
from api.schemas.alerts import (
    DeviceAlerts,
    RuleInput,
    RuleQuery,
    RuleView,
    Suppressed,
    TrialInput,
    TrialView,
    rule_of,
    rule_view,
)
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, Paged
from api.services import services_of
from tracking.alert_life import alert_view
from tracking.store.alert_trial import try_rule
from tracking.store.rules import delete_rule, get_rule, list_rules, save_rule

router = APIRouter(prefix="/v1/rules", tags=["rules"])

RuleId = Annotated[str, in_path("rule")]


@router.get("", **documented("listRules", Page[RuleView], example=page_of(examples.RULE)))
async def rules(request: Request, caller: Caller, query: Annotated[Paged, Query()]) -> Response:
    """Rules by id, in their latest versions."""
    after = read_name_cursor(query.cursor)
    found = await services_of(request).pool.run(
        list_rules, caller.tenant_id, after=after, limit=query.limit + 1
    )
    return paged(found, query.limit, lambda last: name_cursor(last.version.rule.id), rule_view)


@router.post(
    "",
    **documented(
        "createRule",
        RuleView,
        example=examples.RULE,
        status=201,
        body=RuleInput,
        body_example=examples.RULE_INPUT,
        problems=[409],
        headers=["ETag", "Location"],
    ),
)
async def create(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Make a rule; without an `id` it gets one. It judges what is recorded from now on."""
    rule = rule_of(decoded(await request.body(), RuleInput))
    stored = await services_of(request).pool.run(
        save_rule, caller.tenant_id, rule, author=caller.name, only_over=(0,)
    )
    if stored is None:
        raise Problem(409, f"rule {rule.id!r} is there already: PUT changes it", field="id")
    response = tagged(answer(rule_view(stored)), stored.version.version)
    response.status_code = 201
    response.headers["Location"] = f"/v1/rules/{rule.id}"
    return response


@router.post(
    "/test",
    **documented(
        "testRule",
        TrialView,
        example=examples.TRIAL,
        body=TrialInput,
        body_example=examples.TRIAL_INPUT,
    ),
)
async def test(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """What a rule would have raised for what happened in [from, to), and for whom.

    Nothing is saved, nobody is told; the ids are those the rule raises live.
    """
    given = decoded(await request.body(), TrialInput)
    if given.start >= given.end:
        raise Problem(422, "it is not before `to`", field="from")
    rule = rule_of(given.rule)
    trial = await services_of(request).pool.run(
        try_rule, caller.tenant_id, rule, given.start, given.end, limit=given.limit
    )
    return answer(
        TrialView(
            rule=rule.id,
            events_n=trial.events_n,
            alerts_n=trial.devices.total(),
            suppressed_n=Suppressed(trial.suppressed["cooldown"], trial.suppressed["quiet"]),
            devices=[DeviceAlerts(device, n) for device, n in trial.devices.most_common()],
            items=[alert_view(alert) for alert in trial.alerts],
        )
    )


@router.get("/{id}", **documented("getRule", RuleView, example=examples.RULE))
async def rule(
    request: Request,
    caller: Caller,
    id: RuleId,  # noqa: A002 -- the name in the path, and so in problems, as below
    query: Annotated[RuleQuery, Query()],
) -> Response:
    """One rule, or one of its versions, which also a deleted rule has."""
    stored = await services_of(request).pool.run(
        get_rule, caller.tenant_id, id, version=query.version
    )
    if stored is None:
        raise not_found(f"rule {id!r}" + (f" version {query.version}" if query.version else ""))
    return tagged(answer(rule_view(stored)), stored.version.version)


@router.put(
    "/{id}",
    **documented(
        "saveRule",
        RuleView,
        example=examples.RULE,
        body=RuleInput,
        body_example=examples.RULE_INPUT,
        problems=[412],
        headers=["ETag"],
    ),
)
async def save(
    request: Request,
    caller: Writer,
    id: RuleId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Make or change a rule: its next version, which judges what is recorded from now on."""
    wanted = rule_of(decoded(await request.body(), RuleInput), id)
    pool = services_of(request).pool

    async def now() -> int:
        there = await pool.run(get_rule, caller.tenant_id, id)
        return 0 if there is None else there.version.version

    only_over = await replaced_versions(request, now)
    stored = await pool.run(
        save_rule, caller.tenant_id, wanted, author=caller.name, only_over=only_over
    )
    if stored is None:
        raise changed_meanwhile(f"rule {id!r}", await now())
    return tagged(answer(rule_view(stored)), stored.version.version)


@router.delete("/{id}", **documented("deleteRule", status=204, problems=[412]))
async def delete(
    request: Request,
    caller: Writer,
    id: RuleId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """End a rule. Its alerts stay, and a retraction still closes them."""
    pool = services_of(request).pool
    only_over = wanted_versions(request)
    if not await pool.run(delete_rule, caller.tenant_id, id, caller.name, only_over=only_over):
        there = await pool.run(get_rule, caller.tenant_id, id)
        if there is None:
            raise not_found(f"rule {id!r}")
        raise changed_meanwhile(f"rule {id!r}", there.version.version)
    return Response(status_code=204)
