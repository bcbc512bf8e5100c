{{- define "lever.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{- define "lever.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lever.labels" -}}
{{ include "lever.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "lever.web" -}}
{{- if or .Values.web.enabled (.Values.door | default dict).enabled }}true{{ end -}}
{{- end }}

{{- define "lever.secret" -}}
{{ .Values.secret.existing | default (include "lever.name" .) }}
{{- end }}
