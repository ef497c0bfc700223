"""Health and metrics: for orchestrators and scrapers, so without a key and without tenant data."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.conventions.answers import answer
from api.document.route import Content, documented
from api.examples import fleet as examples
from api.schemas.parameters import Liveness, Readiness
from api.services import Services, services_of
from tracking.errors import StoreUnavailable
from tracking.feed import ping

router = APIRouter(tags=["health"])

_UNAVAILABLE = {503: Content(Readiness, examples.UNREADY)}


@router.get("/v1/health/live", **documented("getLiveness", Liveness, example=Liveness()))
async def live() -> Response:
    """200 while the process answers at all."""
    return answer(Liveness())


@router.get(
    "/v1/health/ready",
    **documented("getReadiness", Readiness, example=examples.READY, otherwise=_UNAVAILABLE),
)
@router.get(
    "/v1/health",
    **documented("getHealth", Readiness, example=examples.READY, otherwise=_UNAVAILABLE),
)
async def ready(request: Request) -> Response:
    """200 when requests can be served, 503 when not; `checks` tells what is missing.

    Without Redis the api still serves, events included, so that alone is `degraded`, not 503.
    """
    services = services_of(request)
    checks = await _database_checks(services)
    checks["redis"] = await ping(services.settings.redis_url.get_secret_value())
    broken = any(checks[name] != "ok" for name in ("database", "migrations"))
    without_redis = checks["redis"] != "ok"
    response = answer(
        Readiness("unavailable" if broken else "degraded" if without_redis else "ok", checks)
    )
    response.status_code = 503 if broken else 200
    return response


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    body = generate_latest(services_of(request).metrics.registry)
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _database_checks(services: Services) -> dict[str, str]:
    try:
        missing = await services.pool.missing_migrations()
    except StoreUnavailable:
        # Why is in the log: the reason may name hosts and users, and nobody showed a key.
        return {"database": "away", "migrations": "unknown"}
    if missing:
        return {"database": "ok", "migrations": f"{len(missing)} missing: run `waymark migrate`"}
    return {"database": "ok", "migrations": "ok"}
