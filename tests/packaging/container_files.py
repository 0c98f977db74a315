"""Reads Dockerfiles and compose files strictly: what they hold is known, and nothing is understood in two ways."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

INSTRUCTIONS = frozenset(
    "ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME WORKDIR".split()
)
#: Keys of the compose specification that a service may have, and those inside some of them.
SERVICE_KEYS = frozenset(
    "build cap_add cap_drop command configs container_name cpus depends_on deploy devices dns entrypoint env_file "
    "environment expose extra_hosts group_add healthcheck hostname image init labels logging mem_limit network_mode "
    "networks pids_limit platform ports profiles pull_policy read_only restart secrets security_opt shm_size "
    "stop_grace_period stop_signal sysctls tmpfs tty ulimits user volumes working_dir".split()
)
TOP_KEYS = frozenset(("name", "services", "volumes", "networks", "configs", "secrets"))
INNER_KEYS = {
    "build": frozenset("args context dockerfile labels network no_cache pull secrets shm_size ssh target".split()),
    "healthcheck": frozenset("disable interval retries start_interval start_period test timeout".split()),
}
CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
RESTARTS = ("no", "always", "on-failure", "unless-stopped")
_DURATION = re.compile(r"(\d+(us|ms|s|m|h))+")


class Instruction(NamedTuple):
    """One of a Dockerfile, without its comments, on one line. ``stage``: from 0 on."""

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of a command in exec form; raises ValueError for the shell form."""
        found = json.loads(self.text)
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise ValueError(f"not in exec form: {self.text}")
        return found


def dockerfile(text: str) -> list[Instruction]:
    """Return the instructions. Raises ValueError for what is none."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found, stage = [], -1
    for line in filter(str.strip, joined.splitlines()):
        name, _, rest = line.partition(" ")
        if name not in INSTRUCTIONS or not rest.strip():
            raise ValueError(f"no instruction: {line}")
        stage += name == "FROM"
        found.append(Instruction(stage, name, " ".join(rest.split())))
    if not found or found[0].name not in ("FROM", "ARG"):
        raise ValueError("a Dockerfile begins with FROM")
    return found


def compose_mistakes(loaded: dict[str, Any]) -> Iterator[str]:
    """Yield what the compose specification does not know, and what refers to nothing."""
    yield from (f"no key {key}" for key in loaded if key not in TOP_KEYS and not key.startswith("x-"))
    volumes, services = loaded.get("volumes") or {}, loaded["services"]
    for name, service in services.items():
        yield from (f"{name}: no key {key}" for key in service if key not in SERVICE_KEYS)
        if not {"image", "build"} & service.keys():
            yield f"{name}: neither image nor build"
        for key, known in INNER_KEYS.items():
            yield from (f"{name}.{key}: no key {each}" for each in service.get(key, {}) if each not in known)
        for other, how in service.get("depends_on", {}).items():
            if other not in services or how["condition"] not in CONDITIONS:
                yield f"{name}: depends on {other} {how}"
            elif how["condition"] == "service_healthy" and "test" not in services[other].get("healthcheck", {}):
                yield f"{name}: {other} has no health check"
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            is_known = source[0] in "./~" or source in volumes
            if not target.startswith("/") or mode not in ([], ["ro"]) or not is_known:
                yield f"{name}: volume {volume}"
        for port in service.get("ports", []):
            if not isinstance(port, str) or not re.fullmatch(r"([\d.]+:)?\d+:\d+(/(tcp|udp))?", port):
                yield f"{name}: port {port!r}"  # unquoted, YAML takes 22:22 for a number
        times = [service.get("stop_grace_period"), *(service.get("healthcheck", {}).get(key)
                 for key in ("interval", "timeout", "start_period"))]  # fmt: skip
        yield from (f"{name}: time {time!r}" for time in times if time and not _DURATION.fullmatch(str(time)))
        if service.get("restart", "no") not in RESTARTS:
            yield f"{name}: restart {service['restart']!r}"
        yield from (f"{name}: {key}={value!r} is no text" for key, value in service.get("environment", {}).items()
                    if not isinstance(value, str))  # fmt: skip
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    yield from (f"volume {name} is not used" for name in volumes if name not in used)
