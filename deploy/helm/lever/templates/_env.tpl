{{- define "lever.env" -}}
- name: LEVER_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ include "lever.secret" . }}, key: redis-url}}
- name: LEVER_TOKEN_KEYS
  valueFrom: {secretKeyRef: {name: {{ include "lever.secret" . }}, key: token-keys, optional: true}}
# The kubelet and Prometheus reach the side port over the Pod's network, where it has no TLS.
- {name: LEVER_INSECURE, value: "true"}
- {name: LEVER_WORKERS, value: {{ .Values.workers | quote }}}
{{- if include "lever.web" . }}
- {name: LEVER_WEB_PORT, value: "8081"}
{{- end }}
{{- if .Values.experiments }}
- {name: LEVER_EXPERIMENTS, value: /etc/lever/experiments}
{{- end }}
{{- if .Values.apiKeys }}
- {name: LEVER_KEYS_FILE, value: /etc/lever/keys/keys.yaml}
{{- end }}
{{- if .Values.tls.secret }}
- {name: LEVER_TLS_CERT, value: /etc/lever/tls/tls.crt}
- {name: LEVER_TLS_KEY, value: /etc/lever/tls/tls.key}
{{- if .Values.tls.clientCa }}
- {name: LEVER_TLS_CLIENT_CA, value: /etc/lever/tls/ca.crt}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: LEVER_{{ $name }}, value: {{ ternary (int64 $value) $value (kindIs "float64" $value) | toString | quote }}}
{{- end }}
{{- end }}
