"""Schemas of the operators' objects, as far as the chart uses them; anything else is refused.

Written after the definitions of KEDA (`keda.sh/v1alpha1`), the Prometheus operator
(`monitoring.coreos.com/v1`) and Strimzi (`kafka.strimzi.io/v1`), stricter than those: they let an
unknown field pass, and a misspelt one is one.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(required: str, optional: str = "", /, **fields: Schema) -> Schema:
    """An object with these fields and no others; those without a schema of their own are texts."""
    names = (required + " " + optional).split()
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": {name: fields.get(name, TEXT) for name in names},
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _resource(spec: Schema) -> Schema:
    metadata = _object("name labels", "namespace annotations", labels=TEXTS, annotations=TEXTS)
    return _object("apiVersion kind metadata spec", metadata=metadata, spec=spec)


_SCALING_RULES = _object(
    "stabilizationWindowSeconds policies",
    stabilizationWindowSeconds=COUNT,
    policies=_list(_object("type value periodSeconds", value=COUNT, periodSeconds=COUNT)),
)

_KAFKA_TRIGGER = _object(
    "bootstrapServers consumerGroup topic lagThreshold offsetResetPolicy",
    "sasl tls",
    # KEDA takes texts only here, and refuses a number.
    lagThreshold={"type": "string", "pattern": "^[1-9][0-9]*$"},
    offsetResetPolicy={"enum": ["earliest", "latest"]},
    sasl={"enum": ["plaintext", "scram_sha256", "scram_sha512"]},
    tls={"enum": ["enable", "disable"]},
)

_REFERENCE = _object(
    "parameter name key",
    parameter={"enum": ["username", "password", "ca", "cert", "key", "keyPassword"]},
)

_RULE = _object(
    "expr",
    "alert record for labels annotations keep_firing_for",
    labels=TEXTS,
    annotations=TEXTS,
    **{"for": {"type": "string", "pattern": "^[0-9]+[smhd]$"}},
)

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("keda.sh/v1alpha1", "ScaledObject"): _resource(
        _object(
            "scaleTargetRef triggers minReplicaCount maxReplicaCount",
            "pollingInterval fallback advanced",
            scaleTargetRef=_object("apiVersion kind name"),
            minReplicaCount=COUNT,
            maxReplicaCount=COUNT,
            pollingInterval=COUNT,
            fallback=_object("failureThreshold replicas", failureThreshold=COUNT, replicas=COUNT),
            advanced=_object(
                "horizontalPodAutoscalerConfig",
                horizontalPodAutoscalerConfig=_object(
                    "behavior",
                    behavior=_object(
                        "scaleUp scaleDown", scaleUp=_SCALING_RULES, scaleDown=_SCALING_RULES
                    ),
                ),
            ),
            triggers=_list(
                _object(
                    "type metadata",
                    "authenticationRef",
                    type={"const": "kafka"},
                    metadata=_KAFKA_TRIGGER,
                    authenticationRef=_object("name"),
                )
            ),
        )
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): _resource(
        _object(
            "secretTargetRef",
            "configMapTargetRef",
            secretTargetRef=_list(_REFERENCE),
            configMapTargetRef=_list(_REFERENCE),
        )
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _resource(
        _object(
            "selector endpoints namespaceSelector jobLabel",
            selector=_object("matchLabels", matchLabels=TEXTS),
            namespaceSelector=_object("matchNames", matchNames=_list(TEXT)),
            endpoints=_list(
                _object(
                    "port path interval relabelings",
                    relabelings=_list(
                        _object("sourceLabels targetLabel", sourceLabels=_list(TEXT))
                    ),
                )
            ),
        )
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _resource(
        _object("groups", groups=_list(_object("name rules", "interval", rules=_list(_RULE))))
    ),
    ("kafka.strimzi.io/v1", "KafkaTopic"): _resource(
        _object(
            "partitions replicas config",
            "topicName",
            partitions={"type": "integer", "minimum": 1},
            replicas={"type": "integer", "minimum": 1, "maximum": 32_767},
            config=TEXTS,
        )
    ),
}
"""By apiVersion and kind."""
