"""What signing in needs, made once per process; and which proofs there are besides API keys."""

from dataclasses import dataclass
from uuid import UUID

from api.conventions.problems import Problem
from api.identity.credentials import Credentials, KeyProof, Proof
from api.identity.keyring import Keyring
from api.identity.oidc import Providers
from api.identity.password_threads import PasswordThreads
from tracking.access import Principal
from tracking.oidc import External
from tracking.seal import Seal
from tracking.settings import Settings
from tracking.store.acting import SYSTEM, acting
from tracking.store.keys import authenticate_digest
from tracking.store.pool import ReadPool
from tracking.store.sessions import session_principal
from tracking.store.tenants import find_tenant


@dataclass(frozen=True, slots=True)
class SessionProof:
    """An access token of ours, of which only the session is kept."""

    session_id: UUID
    ends_s: float


@dataclass(frozen=True, slots=True)
class ExternalProof:
    """A token of an OIDC provider, of which only what it says is kept."""

    external: External
    ends_s: float


@dataclass(frozen=True, slots=True)
class Identity:
    """The parts of an api process that know people."""

    seal: Seal | None
    keyring: Keyring
    providers: Providers
    threads: PasswordThreads

    def sealed(self) -> Seal:
        """The seal.

        Raises:
            Problem: 503, there is none.
        """
        if self.seal is None:
            raise Problem(
                503,
                "nobody signs in by password here until WAYMARK_SECRET_KEY is set on the server; "
                "API keys work",
            )
        return self.seal

    async def close(self) -> None:
        """Let go of threads and requests."""
        self.threads.close()
        await self.providers.close()


def identity_of(settings: Settings, pool: ReadPool) -> Identity:
    """What the settings and this database make of it."""
    secret = settings.secret_key
    seal = None if secret is None else Seal(secret.get_secret_value())
    return Identity(seal, Keyring(pool, seal), Providers(settings.oidc), PasswordThreads())


def credentials_of(identity: Identity, pool: ReadPool) -> Credentials:
    """The one way from a credential to a principal."""

    async def read_token(token: str) -> Proof | None:
        ours = await identity.keyring.read(token)
        if ours is not None:
            access, ends_s = ours
            return SessionProof(access.session_id, ends_s)
        theirs = await identity.providers.read(token)
        return None if theirs is None else ExternalProof(*theirs)

    async def lookup(proof: Proof) -> Principal | None:
        # Whose the credential is, is what is asked: no tenant can be named yet.
        with acting(SYSTEM):
            match proof:
                case KeyProof(digest=digest):
                    return await pool.run(authenticate_digest, digest)
                case SessionProof(session_id=session_id):
                    return await pool.run(session_principal, session_id)
                case ExternalProof(external=External(tenant=tenant, role=role, name=name)):
                    tenant_id = await pool.run(find_tenant, tenant)
                    if tenant_id is not None:
                        return Principal(tenant_id, tenant, role, None, name)
        return None

    return Credentials(read_token, lookup)
