"""What a receptionist is. Knows nothing of calls.

A draft (`Agent` and its rows) changes freely; an `AgentVersion` never does.
"""

from agents_app.models.agents import (
    FIXED_LINES,
    OPENING_LINES,
    Agent,
    Guardrail,
    Instruction,
    RealtimeModel,
    Tool,
    Voice,
)
from agents_app.models.clinics import (
    ApiToken,
    Clinic,
    ClinicGroup,
    ClinicHours,
    ClinicOrigin,
    Membership,
    digest,
    normal_origin,
    validate_origin,
)
from agents_app.models.data_keys import DataKey
from agents_app.models.services import (
    KeyRefusal,
    VoiceService,
    is_this_machine,
    key_headers,
    normal_service_address,
)
from agents_app.models.versions import AgentVersion, Clip, canonical_json

__all__ = [
    "FIXED_LINES",
    "OPENING_LINES",
    "Agent",
    "AgentVersion",
    "ApiToken",
    "Clinic",
    "ClinicGroup",
    "ClinicHours",
    "ClinicOrigin",
    "Clip",
    "DataKey",
    "Guardrail",
    "Instruction",
    "KeyRefusal",
    "Membership",
    "RealtimeModel",
    "Tool",
    "Voice",
    "VoiceService",
    "canonical_json",
    "digest",
    "is_this_machine",
    "key_headers",
    "normal_origin",
    "normal_service_address",
    "validate_origin",
]
