"""Payloads as others may rely on them, schema 1: events, states and summaries.

The models say what the daemon sends, no more and no less: the tests hold every payload against
them.  What is published (`published`, `hard schema`) is looser in one thing: a reader must let
fields pass that it does not know, as fields may be added within schema 1.  None is renamed, removed
or given another meaning without `schema` becoming 2.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hard.api import Status  # noqa: TC001 - pydantic evaluates the annotations

__all__ = ["NAMES", "payload_of", "published"]

Moment: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="RFC 3339, UTC, cut off to milliseconds; the field with _ns behind is exact",
    ),
]
Ns: TypeAlias = Annotated[int, Field(description="ns since 1970-01-01T00:00Z")]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Field(ge=0)]
Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    schema_: Literal[1] = Field(alias="schema", description="of this payload")
    stream: str = Field(description="one device on one wearer")


class _Event(_Payload):
    seq: int | None = Field(description="ascending in one installation's log; null in a replay")
    id: Digest = Field(description="the same whenever the same samples are processed")
    confidence: Share | None = Field(
        description="of the activity: of the deciding moment at enter, a mean over the bout at exit"
    )
    probs: dict[str, Share] = Field(description="by state, likewise")
    t_start: Moment = Field(description="estimated onset of the bout, or of the status")
    t_start_ns: Ns
    t_decided: Moment = Field(description="the data time at which it was known")
    t_decided_ns: Ns
    coverage: Share | None = Field(description="share of the model's grid with a sample nearby")
    segment: int = Field(ge=0, description="counts jumps of the stream's clock")
    model: str = Field(description="name@hash")
    clock_unsynced: Literal[True] | None = Field(
        default=None,
        description="there, and true, where the daemon's own clock could not be believed then",
    )
    t_published: Moment | None = Field(default=None, description="added on delivery")
    t_published_ns: Ns | None = None
    latency_ms: int | None = Field(default=None, description="t_published - t_decided")
    late: bool | None = Field(default=None, description="delivered long after it was decided")


class Enter(_Event):
    """A bout of an activity begins."""

    event_type: Literal["enter"]
    bout: Digest = Field(description="shared with the exit of this bout")
    activity: str = Field(description="a label of the model, still, unknown or off_body")
    t_end: None
    t_end_ns: None
    reason: str | None


class Exit(_Event):
    """A bout of an activity has ended."""

    event_type: Literal["exit"]
    bout: Digest = Field(description="shared with the enter of this bout")
    activity: str = Field(description="a label of the model, still, unknown or off_body")
    t_end: Moment
    t_end_ns: Ns
    reason: str = Field(
        description="changed, no_data, rejected, paused, evicted, shutdown, interrupted or "
        "end_of_data"
    )


class StatusChange(_Event):
    """Whether the stream can be used has changed."""

    event_type: Literal["status"]
    bout: None
    activity: None
    t_end: None
    t_end_ns: None
    reason: str | None = Field(description="a sentence that names cause and remedy")
    status: Status
    previous: Status | None


class State(_Payload):
    """What a stream is now; the latest wins."""

    status: Status
    activity: str | None = Field(description="the best guess of now; may be taken back")
    confirmed: str | None = Field(description="the activity of the open bout, as events told it")
    confidence: Share | None
    probs: dict[str, Share]
    since: Moment | None = Field(description="onset of what is guessed, or begin of the status")
    since_ns: Ns | None
    t: Moment | None = Field(description="the data time of this knowledge")
    t_ns: Ns | None
    bout: Digest | None = Field(description="of the open bout")
    model: str
    reason: str | None


class Summary(_Payload):
    """What a stream's wearer did in one day so far; the latest wins."""

    date: str = Field(pattern=r"^\d{4}-\d\d-\d\d$", description="in the wearer's time zone")
    timezone: str = Field(description="IANA name")
    t_start: Moment = Field(description="local midnight at which the day begins")
    t_start_ns: Ns
    t_end: Moment = Field(description="local midnight at which it ends, 23 to 25 h later")
    t_end_ns: Ns
    t: Moment = Field(description="counted until then, an open bout too")
    t_ns: Ns
    activity_s: dict[str, Seconds] = Field(description="seconds by activity")
    bouts: dict[str, Annotated[int, Field(ge=1)]] = Field(
        description="by activity; one over midnight is one on either day"
    )
    no_data_s: Seconds = Field(description="silence")
    first_seen: Moment | None = Field(description="begin of the day's first evidence")
    first_seen_ns: Ns | None
    last_seen: Moment | None = Field(description="end of the day's last evidence")
    last_seen_ns: Ns | None
    longest_rest_start: Moment | None = Field(
        description="longest stretch of still, sitting, standing and laying that follow each other"
    )
    longest_rest_start_ns: Ns | None
    longest_rest_end: Moment | None
    longest_rest_end_ns: Ns | None


_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "event": TypeAdapter(Annotated[Enter | Exit | StatusChange, Field(discriminator="event_type")]),
    "state": TypeAdapter(State),
    "summary": TypeAdapter(Summary),
}
NAMES = tuple(_ADAPTERS)


def payload_of(name: str, body: object) -> Any:
    """Return a payload as its model; raises `pydantic.ValidationError` for anything else."""
    return _ADAPTERS[name].validate_python(body)


def published(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the payloads of one kind.

    Every field that is always there is required; unknown fields are allowed.
    """
    schema = _ADAPTERS[name].json_schema(by_alias=True)
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("additionalProperties", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"hard {name}, schema 1",
    }
