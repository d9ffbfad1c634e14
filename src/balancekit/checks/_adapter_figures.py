"""Adapters (LoRA) that an inference server has loaded, from its page of metrics.

vLLM writes them as labels of ``vllm:lora_requests_info``. There is one sample for each set of adapters so far; its value
is the time at which that set was current. Source: vLLM's documentation of metrics, 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from balancekit.inference import ADAPTER_PREFIX, FREE_ADAPTERS

__all__ = ["ADAPTER_GAUGE", "adapter_figures"]

ADAPTER_GAUGE: Final = "vllm:lora_requests_info"
MAX_ADAPTERS: Final = 1_000
"""The most adapters read from one page; further ones are left out."""


def adapter_figures(samples: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]) -> dict[str, float]:
    """Return ``"adapter:NAME"`` for each adapter that has requests, and the number of free adapter slots."""
    found = samples.get(ADAPTER_GAUGE)
    if not found:
        return {}
    labels, _ = max(found, key=lambda sample: sample[1])
    listed = ",".join([labels.get("running_lora_adapters", ""), labels.get("waiting_lora_adapters", "")])
    names = [name.strip() for name in listed.split(",") if name.strip()][:MAX_ADAPTERS]
    figures = {ADAPTER_PREFIX + name: 1.0 for name in names}
    room = labels.get("max_lora", "")
    if room.isdecimal() and len(room) < 10:
        figures[FREE_ADAPTERS] = max(0.0, float(room) - len(figures))
    return figures
