"""`waymark user` and `waymark tenant`: people and whose data they see, from the command line."""

# ruff: noqa: FBT002, PLC0415  -- psycopg is imported when needed; a default of False is how Typer spells a flag

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer
from rich.table import Column, Table

from waymark.terminal import DEFAULT_DATA_DIR, AsJson, DataDir, err, out, set_up

if TYPE_CHECKING:
    from tracking.store.connection import Connection

user_app = typer.Typer(no_args_is_help=True, help="Make, list, disable and reset users.")
tenant_app = typer.Typer(no_args_is_help=True, help="Make and list tenants.")

Address = Annotated[str, typer.Argument(help="E-mail address, in any case.")]
Tenant = Annotated[str, typer.Option(help="Whose data they see.")]
T = TypeVar("T")


@user_app.command("create")
def create_a_user(  # noqa: PLR0917  -- Typer passes them by name
    email: Address,
    name: Annotated[str | None, typer.Option(help="Shown to others. [default: EMAIL]")] = None,
    role: Annotated[
        Literal["admin", "dispatcher", "viewer", "service"], typer.Option(help="What they may do.")
    ] = "viewer",
    tenant: Tenant = "default",
    party: Annotated[
        str | None,
        typer.Option(help="Sees this shipper's, carrier's or consignee's shipments alone."),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Set the first line of stdin as password.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a user and print a one-time token that sets the password; it cannot be shown again.

    For example:

        waymark user create ann@acme.example --role admin

        pass show waymark | waymark user create ann@acme.example --password-stdin
    """
    from tracking.errors import InputError
    from tracking.users import checked_email, checked_name, new_invite

    if party is not None and role != "viewer":
        raise InputError("whoever is of a party is a viewer", field="role")
    address = checked_email(email)
    shown = checked_name(name or address)
    token = new_invite()
    kept = _hashed(sys.stdin.readline().rstrip("\r\n"), address, shown) if password_stdin else None
    given = {"email": address, "name": shown, "role": role, "party": party}
    if not _run(data_dir, lambda conn: _create(conn, tenant, token, kept, given)):
        _refuse(f"{address} is a user of {tenant} already")
    if kept is None:
        _show_invite(token)
    else:
        out.print(f"{address} can sign in")


def _hashed(password: str, email: str, name: str) -> str:
    from tracking.passwords import check_password, hash_password

    check_password(password, email=email, name=name)
    return hash_password(password)


async def _create(
    conn: "Connection", tenant: str, token: str, kept: str | None, given: dict[str, Any]
) -> bool:
    """Make a user, with a password if one was given; False: the address is taken."""
    from tracking.store.accounts import accept_invite
    from tracking.store.keys import digest_of
    from tracking.store.users import create_user

    digest = digest_of(token)
    async with conn.transaction():
        tenant_id = await _tenant_id(conn, tenant)
        user = await create_user(conn, tenant_id, invite=digest, **given)
        if user is not None and kept is not None:
            await accept_invite(conn, digest, kept)
        return user is not None


@user_app.command("list")
def list_all(
    tenant: Tenant = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List the users of a tenant, disabled ones included."""
    import msgspec

    from tracking.store.users import User, UserFilter, list_users

    async def work(conn: "Connection") -> list[User]:
        tenant_id = await _tenant_id(conn, tenant)
        return await list_users(conn, tenant_id, UserFilter(), after=None, limit=None)

    users = _run(data_dir, work)
    if as_json:
        sys.stdout.write(msgspec.json.encode(users).decode() + "\n")
        return
    address = Column("e-mail", overflow="fold", min_width=24)
    table = Table("id", address, "name", "role", "state", "2nd factor", "last sign-in", box=None)
    for user in users:
        state = "disabled" if user.disabled else "invited" if user.invited else "active"
        seen = f"{user.signed_in_at:%Y-%m-%d %H:%M}" if user.signed_in_at else "-"
        factor = "yes" if user.second_factor else "-"
        name = "-" if user.name == user.email else user.name
        table.add_row(str(user.id), user.email, name, user.role, state, factor, seen)
    out.print(table)


@user_app.command("disable")
def disable_a_user(
    email: Address,
    tenant: Tenant = "default",
    undo: Annotated[bool, typer.Option("--undo", help="Let them sign in again.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Let a user sign in no more, and end their sessions within seconds everywhere."""
    from tracking.store.users import Changes, change_user

    async def work(conn: "Connection") -> None:
        tenant_id, user_id = await _user(conn, tenant, email)
        await change_user(conn, tenant_id, user_id, Changes(disabled=not undo))

    _run(data_dir, work)
    out.print(f"{email} is {'enabled' if undo else 'disabled'}")


@user_app.command("reset")
def reset_a_user(
    email: Address, tenant: Tenant = "default", data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Take password, second factor and sessions away; print a one-time token for a new password."""
    from tracking.store.keys import digest_of
    from tracking.store.users import reset_user
    from tracking.users import new_invite

    token = new_invite()

    async def work(conn: "Connection") -> None:
        tenant_id, user_id = await _user(conn, tenant, email)
        await reset_user(conn, tenant_id, user_id, digest_of(token))

    _run(data_dir, work)
    _show_invite(token)


@tenant_app.command("create")
def create_a_tenant(
    name: Annotated[str, typer.Argument(help="A level of MQTT topics: A-Z a-z 0-9 . _ -")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a tenant: devices publish below wm/NAME/. One that is there already stays as it is."""
    from tracking.store.tenants import create_tenant

    create_tenant(set_up(data_dir).database_url.get_secret_value(), name)
    out.print(f"tenant {name} is there")


@tenant_app.command("list")
def list_tenants_there_are(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List the tenants, and how much each has."""
    from tracking.store.tenants import list_tenants

    tenants = list_tenants(set_up(data_dir).database_url.get_secret_value())
    if as_json:
        sys.stdout.write(json.dumps([one._asdict() for one in tenants], default=str) + "\n")
        return
    table = Table("name", "created", "devices", "users", box=None)
    for one in tenants:
        created = f"{one.created_at:%Y-%m-%d %H:%M}"
        table.add_row(one.name, created, str(one.devices_n), str(one.users_n))
    out.print(table)


def _run(data_dir: Path, work: Callable[["Connection"], Awaitable[T]]) -> T:
    """Do it on a connection that sees every tenant."""
    from tracking.store.connection import connect

    url = set_up(data_dir).database_url.get_secret_value()

    async def whole() -> T:
        async with await connect(url, name="waymark-user") as conn:
            return await work(conn)

    return asyncio.run(whole())


async def _tenant_id(conn: "Connection", tenant: str) -> int:
    from tracking.errors import InputError
    from tracking.store.tenants import find_tenant

    found = await find_tenant(conn, tenant)
    if found is None:
        raise InputError(
            f"there is no tenant {tenant!r}: see `waymark tenant list`", field="tenant"
        )
    return found


async def _user(conn: "Connection", tenant: str, email: str) -> tuple[int, int]:
    """The ids of tenant and user."""
    from tracking.store.users import find_user
    from tracking.users import normal_email

    tenant_id = await _tenant_id(conn, tenant)
    user = await find_user(conn, tenant_id, normal_email(email))
    if user is None:
        _refuse(f"{tenant} has no user {email}: see `waymark user list`")
    return tenant_id, user.id


def _refuse(sentence: str) -> NoReturn:
    from tracking.errors import InputError

    raise InputError(sentence, field="email")


def _show_invite(token: str) -> None:
    # For people, beside what a program reads.
    err.print("This token sets the password once, within a week: POST /v1/auth/invite, or the map.")
    sys.stdout.write(token + "\n")
