{{- define "payouts.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for `-webhooks`, `-topics` and the like behind it. */}}
{{- define "payouts.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "payouts.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "payouts.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "payouts.selector" -}}
app.kubernetes.io/name: {{ include "payouts.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "payouts.labels" -}}
{{ include "payouts.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "payouts.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/*
What runs for good: by name of its values, the command, the roles, the topics that it takes and
whether it talks to the world outside. The groups' names are those of streams/settings.py.
*/}}
{{- define "payouts.components" -}}
worker:
  args: [worker]
  role: book
  topics: [sales, commissions, sellers, redemptions, rates, fraud.labels]
executor:
  args: [worker]
  role: pay
  topics: [payouts.commands, rail.updates]
  outside: true
{{- if .Values.webhooks.enabled }}
webhooks:
  args: [worker]
  role: webhooks
  outside: true
  port: 8443
{{- end }}
{{- if .Values.notices.enabled }}
notices:
  args: [worker]
  role: notices
  topics: [payouts.updates, spendback.credits]
  outside: true
{{- end }}
{{- if .Values.api.enabled }}
api:
  args: [api]
  port: 8080
{{- end }}
{{- end }}
