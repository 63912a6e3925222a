"""Memory of a running service, by the role of each of its processes."""

from __future__ import annotations

import psutil


def memory_by_role(process: psutil.Process) -> dict[str, float]:
    """Return proportional set sizes of a process and its descendants, in MB, by role."""
    memory: dict[str, float] = {}
    for member in [process, *process.children(recursive=True)]:
        try:
            role, size = role_of(member, process), member.memory_full_info().pss / 1e6
        except psutil.NoSuchProcess:
            continue
        memory[role] = memory.get(role, 0.0) + size
    return {**memory, "all": sum(memory.values())}


def role_of(member: psutil.Process, gateway: psutil.Process) -> str:
    """Return the role: gateway, JVM, worker, or something else."""
    if member.pid == gateway.pid:
        return "gateway"
    words = member.cmdline()
    if any("org.pytorch.serve.ModelServer" in word for word in words):
        return "JVM"
    return "workers" if any("model_service_worker" in word for word in words) else "helpers"
