"""The metric families Lever exports: names, labels, buckets. Plain data, known to those who count and who render.

RPC families have go-grpc-prometheus' names, which public dashboards know. No label is unbounded: never a subject,
a decision or a context value.
"""

from __future__ import annotations

from dataclasses import dataclass

LabelValues = tuple[str, ...]  # label values, in the order of the family's labels
Samples = list[
    tuple[LabelValues, list[float]]
]  # a counter or gauge: [value]; a histogram: counts a bucket, then the sum

RPC_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DELAY_BOUNDS = (1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0, 259200.0, 604800.0, 2592000.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One family. `merge` says how gauges of several workers become one: max or min."""

    name: str
    kind: str  # counter, gauge or histogram
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merge: str = "max"


_RPC = ("grpc_type", "grpc_service", "grpc_method")
_ARM = ("experiment", "segment", "arm")

_ALL = (
    Family("grpc_server_started_total", "counter", "RPCs that began.", _RPC),
    Family("grpc_server_handled_total", "counter", "RPCs that ended, by status code.", (*_RPC, "grpc_code")),
    Family("grpc_server_handling_seconds", "histogram", "Time in Lever's handler, seconds.", _RPC, RPC_BOUNDS),
    Family("lever_http_requests_total", "counter", "Requests at the web port, by status.", ("route", "status")),
    Family("lever_http_seconds", "histogram", "Time of a request at the web port, seconds.", ("route",), RPC_BOUNDS),
    Family("lever_decisions_total", "counter", "Choices made.", ("experiment", "arm", "reason")),
    Family("lever_rewards_total", "counter", "Rewards and exposures answered.", ("experiment", "outcome")),
    Family("lever_reward_delay_seconds", "histogram", "From decision to reward, seconds.", (), DELAY_BOUNDS),
    Family("lever_features_clipped_total", "counter", "Numbers outside their declared range.", ("experiment",)),
    Family("lever_features_unknown_total", "counter", "Categories and names not declared.", ("experiment",)),
    Family("lever_trials_dropped_total", "counter", "Trials lost from the log.", ("experiment", "cause")),
    Family("lever_snapshot_age_seconds", "gauge", "Since the snapshot was last known to be current.", ("experiment",)),
    Family("lever_checkpoint_age_seconds", "gauge", "Since no checkpoint was due, or one was stored.", ("experiment",)),
    Family("lever_log_entries", "gauge", "Trials and rewards in the log since the last checkpoint.", ("experiment",)),
    Family("lever_flush_age_seconds", "gauge", "Since buffered trials last reached the store."),
    Family("lever_store_up", "gauge", "1 while every worker reaches the store.", merge="min"),
    Family("lever_store_errors_total", "counter", "Calls of the store that failed.", ("call", "kind")),
    Family("lever_store_seconds", "histogram", "Time of a call of the store, seconds.", ("call",), RPC_BOUNDS),
    Family("lever_shed_total", "counter", "RPCs refused because too many were waiting.", ("pool",)),
    Family("lever_overloaded", "gauge", "1 while the core refuses choices as deadlines passed in line."),
    Family("lever_denied_total", "counter", "RPCs refused for want of a good API key.", ("reason",)),
    Family(
        "lever_fast_path_faults_total", "counter", "Calls that failed by a fault of ours before any handler.", ("path",)
    ),
    Family("lever_posterior_mean", "gauge", "What an arm is believed to earn, in the metric's unit.", _ARM),
    Family("lever_probability_best", "gauge", "Probability that an arm earns the most.", _ARM),
    Family("lever_propensity_min", "gauge", "Least probability of any arm, floor included.", ("experiment", "segment")),
    Family("lever_changes", "gauge", "Arms that earn otherwise than they did.", ("experiment", "segment")),
    Family("lever_outage", "gauge", "1 while next to nothing is earned.", ("experiment", "segment")),
    Family("lever_lift", "gauge", "What the policy earns over the holdout, as a share.", ("experiment", "metric")),
    Family("lever_lift_low", "gauge", "Lower end of the lift's interval.", ("experiment", "metric")),
    Family("lever_lift_high", "gauge", "Upper end of the lift's interval.", ("experiment", "metric")),
    Family("lever_guardrail_paused", "gauge", "Arms that guardrails have paused.", ("experiment",)),
    Family("lever_divergence", "gauge", "1 where two servers came to different states from one log.", ("experiment",)),
    Family("lever_lost", "gauge", "1 where the store forgot an experiment that is served.", ("experiment",)),
    Family("lever_unreadable", "gauge", "1 where an experiment's data in the store is damaged.", ("experiment",)),
    Family("lever_log_ends_lost_total", "counter", "Times the store lost the end of a log.", ("experiment",)),
    Family(
        "lever_states_offered_total", "counter", "States that this server added up for the others.", ("experiment",)
    ),
    Family("lever_states_loaded_total", "counter", "States loaded that another server added up.", ("experiment",)),
    Family("lever_store_evicts", "gauge", "1 where the store's policy lets it evict records."),
    Family("lever_build_info", "gauge", "Always 1; the version is in the label.", ("version",)),
    Family("lever_worker_ready", "gauge", "1 while the worker answers choices.", ("worker",)),
)

FAMILIES = {family.name: family for family in _ALL}
