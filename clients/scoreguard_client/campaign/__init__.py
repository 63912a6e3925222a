"""Campaigns: attacks x images x defences against the live endpoint, recorded so that nothing is lost."""

from __future__ import annotations

from scoreguard_client.campaign.errors import PlanMismatchError, RunError, ServerGoneError
from scoreguard_client.campaign.launch import CampaignOptions, launch
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey
from scoreguard_client.campaign.runner import Runner, Summary
from scoreguard_client.campaign.store import Store
from scoreguard_client.progress import Progress
from scoreguard_client.target.errors import CampaignError, PlanError
from scoreguard_client.target.gradients import Gradients
from scoreguard_client.target.images import ImageRef
from scoreguard_client.target.units import Unit

__all__ = [
    "CampaignError",
    "CampaignOptions",
    "CleanKey",
    "CleanScore",
    "Gradients",
    "ImageRef",
    "Plan",
    "PlanError",
    "PlanMismatchError",
    "Progress",
    "Record",
    "RecordKey",
    "RunError",
    "Runner",
    "ServerGoneError",
    "Store",
    "Summary",
    "Unit",
    "launch",
]
