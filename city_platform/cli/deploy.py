"""`city-platform deploy`: packages of functions, and the stacks of an environment on AWS."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Json
from city_platform.cli.session import CHECKOUT, FAILED, OK, REFUSED, USAGE, Session, size

if TYPE_CHECKING:
    from city_platform.infrastructure.deployment import Deployment, Waiting
    from city_platform.infrastructure.stacks import ChangeSet
    from city_platform.infrastructure.templates import Template

app = typer.Typer(help="The platform on AWS: package functions, show and make changes.", no_args_is_help=True)

EnvironmentName = Annotated[str, typer.Option("--environment", "-e", help="dev, staging or prod.")]
StackNames = Annotated[
    list[str] | None,
    typer.Option("--stack", help="Only this template's stack; may be repeated. Default: all but those left to people."),
]
Folder = Annotated[Path, typer.Option("--infrastructure", help="The folder of templates and parameters.")]
Packages = Annotated[Path, typer.Option("--packages", help="Where `deploy package` wrote, and the others read.")]
Role = Annotated[str | None, typer.Option("--role", help="The ARN of a role of the environment's account to take on.")]

FOLDER, DIST = CHECKOUT / "infrastructure", CHECKOUT / "dist"


@app.command("package", epilog="Example: city-platform deploy package")
def package(infrastructure: Folder = FOLDER, packages: Packages = DIST, as_json: Json = False) -> None:
    """Build the functions' packages, one zip for each template that has functions: only what their handlers import."""
    from city_platform.infrastructure.package import build
    from city_platform.infrastructure.templates import read_templates

    session = Session.start(None, as_json=as_json)
    with session.errors():
        templates = read_templates(infrastructure).values()
        built = {
            one.name: build(CHECKOUT, one.handlers, packages / f"{one.name}.zip")
            for one in templates
            if one.is_packaged
        }
    session.result(
        {
            "packages": {
                name: {"file": str(one.file), "sha256": one.sha256, "zipped": one.zipped, "unzipped": one.unzipped}
                for name, one in built.items()
            }
        }
    )
    if not as_json:
        for one in built.values():
            session.out.print(
                f"{one.file}: {size(one.zipped)}, unzipped {size(one.unzipped)}", soft_wrap=True, highlight=False
            )
    raise SystemExit(OK)


@app.command("plan", epilog="Example: city-platform deploy plan --environment staging")
def plan(
    environment: EnvironmentName,
    stack: StackNames = None,
    infrastructure: Folder = FOLDER,
    packages: Packages = DIST,
    role: Role = None,
    as_json: Json = False,
) -> None:
    """Show what a deployment would change, resource by resource, and change nothing."""
    from city_platform.infrastructure.stacks import ChangeSet

    session = Session.start(None, as_json=as_json)
    shown = []
    with session.errors():
        deployment, chosen = _prepared(environment, stack, infrastructure, packages, role)
        for proposal in deployment.proposals(chosen):
            _show(session, proposal)
            shown.append(_body(proposal))
            if isinstance(proposal, ChangeSet) and proposal.changes:
                deployment.stacks.discard(proposal)
    session.result({"environment": environment, "stacks": shown})
    raise SystemExit(OK)


@app.command("up", epilog="Example: city-platform deploy up --environment dev --stack bootstrap")
def up(
    environment: EnvironmentName,
    stack: StackNames = None,
    infrastructure: Folder = FOLDER,
    packages: Packages = DIST,
    role: Role = None,
    approved: Annotated[
        bool, typer.Option("--approved", help="Somebody has agreed to these changes: do not ask, stack by stack.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Deploy: show each stack's changes, ask where the environment wants approval, make them.

    Exit code 3 where a change was not approved or a stack failed; what stood before stands.
    """
    from city_platform.infrastructure.stacks import ChangeSet

    session = Session.start(None, as_json=as_json)
    shown = []
    with session.errors():
        deployment, chosen = _prepared(environment, stack, infrastructure, packages, role)
        asks = deployment.environment.file.approval and not approved
        if asks and not _on_terminal():
            session.fail(USAGE, f"{environment} wants its changes approved: answer on a terminal, or give --approved")
        for proposal in deployment.proposals(chosen, clearing=True):
            _show(session, proposal)
            shown.append(_body(proposal))
            if not isinstance(proposal, ChangeSet):
                session.fail(REFUSED, f"{proposal.stack} needs {', '.join(proposal.waits_for)} first")
            if not proposal.changes:
                continue
            if asks and not typer.confirm(f"Make these changes to {proposal.stack}?"):
                deployment.stacks.discard(proposal)
                session.fail(REFUSED, f"{proposal.stack} stays as it is; nothing after it was looked at")
            deployment.make(proposal)
    session.result({"environment": environment, "stacks": shown})
    raise SystemExit(OK)


@app.command("down", epilog="Example: city-platform deploy down --environment dev")
def down(
    environment: EnvironmentName,
    stack: StackNames = None,
    infrastructure: Folder = FOLDER,
    role: Role = None,
    as_json: Json = False,
) -> None:
    """Delete stacks, the last one first. Data stay: buckets, tables, keys and databases are retained.

    Asks for the environment's name. Protected stacks refuse until somebody lifts their protection in AWS.
    """
    session = Session.start(None, as_json=as_json)
    removed = []
    with session.errors():
        deployment = _open(environment, infrastructure, DIST, role)
        chosen = deployment.chosen(stack or [])
        names = ", ".join(deployment.environment.stack(one.name) for one in reversed(chosen))
        if typer.prompt(f"Delete {names}? Type the environment's name") != environment:
            session.fail(USAGE, "nothing was deleted")
        for name, existed in deployment.remove(chosen):
            removed += [name] if existed else []
            session.err.print(f"{name}: {'deleted' if existed else 'was not there'}", highlight=False)
    session.result({"environment": environment, "deleted": removed})
    raise SystemExit(OK)


@app.command("smoke", epilog="Example: city-platform deploy smoke --environment staging")
def smoke(
    environment: EnvironmentName, infrastructure: Folder = FOLDER, role: Role = None, as_json: Json = False
) -> None:
    """Ask a deployed environment a few questions from outside. Exit code 1 where an answer is wrong."""
    import httpx2

    from city_platform.infrastructure.smoke import TIMEOUT_S
    from city_platform.infrastructure.smoke import smoke as check
    from city_platform.infrastructure.stacks import aws_errors

    session = Session.start(None, as_json=as_json)
    with session.errors():
        connect = _clients(role)
        deployment = _open(environment, infrastructure, DIST, role, connect)
        region = deployment.environment.file.region

        def services(cluster: str) -> list[Any]:
            with aws_errors(cluster):
                ecs = connect("ecs", region)
                arns = ecs.list_services(cluster=cluster)["serviceArns"]
                return list(ecs.describe_services(cluster=cluster, services=arns)["services"]) if arns else []

        def has_value(secret: str) -> bool:
            with aws_errors(secret):
                found = connect("secretsmanager", region).describe_secret(SecretId=secret)
            return bool(found.get("VersionIdsToStages"))

        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            exports = deployment.stacks.exports(region)
            outcomes = list(
                check(
                    deployment.environment,
                    exports,
                    lambda url, headers: client.get(url, headers=headers),
                    services,
                    has_value,
                )
            )
    told = {one.check: one.problem or ", ".join(filter(None, ("ok", one.note))) for one in outcomes}
    session.result({"checks": told})
    if not as_json:
        for name, what in told.items():
            session.out.print(f"{name}: {what}", markup=False, highlight=False)
    raise SystemExit(FAILED if any(one.problem for one in outcomes) else OK)


def _open(
    name: str,
    infrastructure: Path,
    packages: Path,
    role: str | None,
    connect: Callable[[str, str], Any] | None = None,
) -> "Deployment":
    from city_platform.infrastructure.deployment import Deployment
    from city_platform.infrastructure.parameters import read_environment
    from city_platform.infrastructure.stacks import Stacks
    from city_platform.infrastructure.templates import read_templates

    make = connect or _clients(role)
    return Deployment(
        environment=read_environment(infrastructure / "parameters", name),
        templates=read_templates(infrastructure),
        stacks=Stacks(lambda region: make("cloudformation", region)),
        bucket=lambda region: make("s3", region),
        variables=os.environ,
        packages=packages,
    )


def _prepared(
    name: str, stacks: Sequence[str] | None, infrastructure: Path, packages: Path, role: str | None
) -> "tuple[Deployment, Sequence[Template]]":
    """The deployment and the templates chosen of it, all that they need known to be there."""
    deployment = _open(name, infrastructure, packages, role)
    chosen = deployment.chosen(stacks or [])
    deployment.require(chosen)
    return deployment, chosen


def _clients(role: str | None) -> Callable[[str, str], Any]:
    """Makes clients by service and region, with the credentials at hand or those of a role taken on with them."""
    import boto3
    from botocore.config import Config

    settings = Config(connect_timeout=5, read_timeout=60, retries={"mode": "adaptive", "total_max_attempts": 8})
    session = _session_of(role) if role else boto3
    return lambda service, region: session.client(service, region_name=region, config=settings)


def _session_of(role: str) -> Any:
    import boto3

    from city_platform.infrastructure.stacks import aws_errors

    with aws_errors(role):
        keys = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="city-platform-deploy")["Credentials"]
    return boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _show(session: Session, proposal: "ChangeSet | Waiting") -> None:
    from city_platform.infrastructure.stacks import ChangeSet

    if not isinstance(proposal, ChangeSet):
        line = f"{proposal.stack}: {proposal.resources} resources, after {', '.join(proposal.waits_for)}"
    elif not proposal.changes:
        line = f"{proposal.stack}: no changes"
    else:
        word = "new" if proposal.creates else "changes"
        line = f"{proposal.stack} ({proposal.region}): {word}, {len(proposal.changes)} resources"
    session.err.print(line, style="bold", markup=False, highlight=False, soft_wrap=True)
    for one in proposal.changes if isinstance(proposal, ChangeSet) else ():
        replaced = "  REPLACED: its old self is removed, or retained" if one.replaces else ""
        session.err.print(f"  {one.action:<8}{one.resource} ({one.kind}){replaced}", markup=False, highlight=False)


def _body(proposal: "ChangeSet | Waiting") -> dict[str, Any]:
    from city_platform.infrastructure.stacks import ChangeSet

    if not isinstance(proposal, ChangeSet):
        return {"stack": proposal.stack, "waits_for": list(proposal.waits_for)}
    changes = [
        {"action": one.action, "resource": one.resource, "type": one.kind, "replaces": one.replaces}
        for one in proposal.changes
    ]
    return {"stack": proposal.stack, "region": proposal.region, "new": proposal.creates, "changes": changes}
