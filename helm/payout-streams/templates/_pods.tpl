{{/* The settings that follow from the values, by variable; those of `settings` among them. */}}
{{- define "payouts.settings" -}}
{{- $own := dict
  "PAYOUTS_KAFKA_BROKERS" .Values.kafka.brokers
  "PAYOUTS_KAFKA_SECURITY_PROTOCOL" .Values.kafka.securityProtocol
  "PAYOUTS_PARTITIONS" (.Values.kafka.partitions | toString)
  "PAYOUTS_GROUP_ID" .Values.kafka.groupId
  "PAYOUTS_TOPIC_REPLICATION" (.Values.topics.replication | toString)
  "PAYOUTS_REDIS_URL" .Values.redis.url
  "PAYOUTS_REDIS_CLUSTER" (.Values.redis.cluster | toString)
  "PAYOUTS_DRAIN_TIMEOUT_S" (.Values.drainTimeoutSeconds | toString)
  "PAYOUTS_METRICS_HOST" "0.0.0.0"
  "PAYOUTS_METRICS_PORT" "9464"
  "PAYOUTS_WEBHOOK_HOST" "0.0.0.0"
  "PAYOUTS_WEBHOOK_PORT" "8443"
  "PAYOUTS_API_HOST" "0.0.0.0"
  "PAYOUTS_API_PORT" "8080"
  "PAYOUTS_SECRETS_DIR" "/etc/payouts/secrets"
}}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
{{- $_ := set $own "PAYOUTS_KAFKA_SASL_MECHANISM" .Values.kafka.sasl.mechanism }}
{{- if not .Values.kafka.sasl.existingSecret }}
{{- fail "kafka.sasl.existingSecret: name the Secret that has the password" }}
{{- end }}
{{- if not (or .Values.kafka.sasl.username .Values.kafka.sasl.usernameKey) }}
{{- fail "kafka.sasl.username: say the user's name, or in usernameKey the Secret's key that has it" }}
{{- end }}
{{- with .Values.kafka.sasl.username }}{{ $_ := set $own "PAYOUTS_KAFKA_SASL_USERNAME" . }}{{ end }}
{{- end }}
{{- if .Values.kafka.tls.caSecret }}
{{- $_ := set $own "PAYOUTS_KAFKA_SSL_CA" "/etc/payouts/tls/kafka-ca.crt" }}
{{- end }}
{{- if .Values.kafka.tls.clientSecret }}
{{- $_ := set $own "PAYOUTS_KAFKA_SSL_CERT" "/etc/payouts/tls/kafka.crt" }}
{{- $_ := set $own "PAYOUTS_KAFKA_SSL_KEY" "/etc/payouts/tls/kafka.key" }}
{{- end }}
{{- with .Values.redis.username }}{{ $_ := set $own "PAYOUTS_REDIS_USERNAME" . }}{{ end }}
{{- if .Values.redis.tls.caSecret }}
{{- $_ := set $own "PAYOUTS_REDIS_SSL_CA" "/etc/payouts/tls/redis-ca.crt" }}
{{- end }}
{{- range $file := (include "payouts.configFiles" . | fromJsonArray) }}
{{- $name := $file | splitList "." | first | upper }}
{{- $_ := set $own (printf "PAYOUTS_%s" $name) (printf "/etc/payouts/config/%s" $file) }}
{{- end }}
{{- if .Values.notices.enabled }}
{{- with .Values.notices.url }}{{ $_ := set $own "PAYOUTS_NOTICES_URL" . }}{{ end }}
{{- end }}
{{- if .Values.api.enabled }}
{{- if not .Values.api.keysSecret }}
{{- fail "api.keysSecret: name the Secret that has the file of keys" }}
{{- end }}
{{- $_ := set $own "PAYOUTS_API_KEYS" (printf "/etc/payouts/api/%s" .Values.api.keysKey) }}
{{- end }}
{{- $settings := dict "PAYOUTS_LOG_FORMAT" "json" }}
{{- range $name, $value := .Values.settings }}
{{- if or (hasKey $own $name) (eq $name "PAYOUTS_ROLES") }}
{{- fail (printf "settings.%s: the chart sets it itself, from its other values" $name) }}
{{- end }}
{{- /* A large whole number comes as a float, which would be written as 1e+06. */}}
{{- $whole := and (kindIs "float64" $value) (eq (toString (floor $value)) (toString $value)) }}
{{- $_ := set $settings $name ($whole | ternary (printf "%.0f" $value) (toString $value)) }}
{{- end }}
{{- merge $own $settings | toYaml }}
{{- end }}

{{/* The files under /etc/payouts/config, as a JSON list. */}}
{{- define "payouts.configFiles" -}}
{{- $files := list }}
{{- if .Values.config.existingConfigMap }}
{{- $files = .Values.config.existingFiles }}
{{- else }}
{{- range $name := list "plan" "policy" "campaigns" }}
{{- if index $.Values.config $name }}{{ $files = append $files (printf "%s.yaml" $name) }}{{ end }}
{{- end }}
{{- end }}
{{- $files | toJson }}
{{- end }}

{{- define "payouts.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "payouts.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What every pod of ours has beside its containers. */}}
{{- define "payouts.pod" -}}
serviceAccountName: {{ .Values.serviceAccountName }}
automountServiceAccountToken: false
# A Service named payouts would put variables with our prefix into every container.
enableServiceLinks: false
securityContext:
  {{- include "payouts.podSecurity" . | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "payouts.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: secrets
  mountPath: /etc/payouts/secrets
  readOnly: true
{{- if include "payouts.tls" . }}
- name: tls
  mountPath: /etc/payouts/tls
  readOnly: true
{{- end }}
{{- if include "payouts.configFiles" . | fromJsonArray }}
- name: config
  mountPath: /etc/payouts/config
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Those that do not hang on an object of ours. */}}
{{- define "payouts.secretVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range .Values.secrets }}
      - secret:
          name: {{ . }}
      {{- end }}
      {{- with .Values.kafka }}
      {{- if hasPrefix "SASL" .securityProtocol }}
      - secret:
          name: {{ .sasl.existingSecret }}
          items:
            {{- if not .sasl.username }}
            - key: {{ .sasl.usernameKey }}
              path: PAYOUTS_KAFKA_SASL_USERNAME
            {{- end }}
            - key: {{ .sasl.passwordKey }}
              path: PAYOUTS_KAFKA_SASL_PASSWORD
      {{- end }}
      {{- if and .tls.clientSecret .tls.keyPasswordKey }}
      - secret:
          name: {{ .tls.clientSecret }}
          items:
            - key: {{ .tls.keyPasswordKey }}
              path: PAYOUTS_KAFKA_SSL_KEY_PASSWORD
      {{- end }}
      {{- end }}
      {{- with .Values.redis.existingSecret }}
      - secret:
          name: {{ . }}
          items:
            - key: {{ $.Values.redis.passwordKey }}
              path: PAYOUTS_REDIS_PASSWORD
      {{- end }}
{{- with include "payouts.tls" . }}
- name: tls
  projected:
    defaultMode: 0440
    sources:
      {{- trim . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "payouts.volumes" -}}
{{ include "payouts.secretVolumes" . }}
{{- if include "payouts.configFiles" . | fromJsonArray }}
- name: config
  configMap:
    name: {{ .Values.config.existingConfigMap | default (printf "%s-config" (include "payouts.fullname" .)) }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The sources of the certificates' volume; nothing if there is no certificate. */}}
{{- define "payouts.tls" -}}
{{- with .Values.kafka.tls }}
{{- if .caSecret }}
- secret:
    name: {{ .caSecret }}
    items:
      - key: {{ .caKey }}
        path: kafka-ca.crt
{{- end }}
{{- if .clientSecret }}
- secret:
    name: {{ .clientSecret }}
    items:
      - key: {{ .certKey }}
        path: kafka.crt
      - key: {{ .keyKey }}
        path: kafka.key
{{- end }}
{{- end }}
{{- with .Values.redis.tls }}
{{- if .caSecret }}
- secret:
    name: {{ .caSecret }}
    items:
      - key: {{ .caKey }}
        path: redis-ca.crt
{{- end }}
{{- end }}
{{- end }}
