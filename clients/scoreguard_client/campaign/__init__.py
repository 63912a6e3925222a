"""Campaigns: attacks x images x defences against the live endpoint, recorded so that nothing is lost."""

from __future__ import annotations

from scoreguard_client.campaign.errors import MergeError, PlanMismatchError, RunError, ServerGoneError
from scoreguard_client.campaign.launch import launch
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.merging import Merged, merge
from scoreguard_client.campaign.options import CampaignOptions, RunnerKind
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.records import CleanKey, CleanScore, Record, RecordKey
from scoreguard_client.campaign.runner import Runner, Summary
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
    "Ledger",
    "MergeError",
    "Merged",
    "Plan",
    "PlanError",
    "PlanMismatchError",
    "PlannedMetric",
    "Progress",
    "Record",
    "RecordKey",
    "RunError",
    "Runner",
    "RunnerKind",
    "ServerGoneError",
    "Summary",
    "Unit",
    "launch",
    "merge",
]
