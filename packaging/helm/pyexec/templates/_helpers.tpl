{{/* The names fit into a pod's name, which is also the name of a node of the fleet: 63 characters. */}}
{{- define "pyexec.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 45 | trimSuffix "-" -}}
{{- end -}}

{{- define "pyexec.selector" -}}
app.kubernetes.io/name: pyexec
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "pyexec.labels" -}}
{{ include "pyexec.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* The pod of one part; .root, .part, .values, .args, .env, .grace, .seccomp, .appArmor, .hooks */}}
{{- define "pyexec.pod" -}}
metadata:
  labels: {{- include "pyexec.selector" . | nindent 4 }}
  annotations:
    checksum/config: {{ .values.config | sha256sum }}
    {{- with .values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  hostUsers: {{ .root.Values.hostUsers }}
  terminationGracePeriodSeconds: {{ .grace }}
  securityContext: {fsGroup: 10001}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: pyexec
      image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        {{- toYaml .args | nindent 8 }}
        {{- range .root.Values.nats.urls }}
        - --nats
        - {{ . | quote }}
        {{- end }}
        - --listen
        - 0.0.0.0:8080
        - --token-file
        - /etc/pyexec/tokens
        {{- with .values.extraArgs }}{{ toYaml . | nindent 8 }}{{ end }}
      env: {{- toYaml .env | nindent 8 }}
      ports:
        - {name: http, containerPort: 8080}
      securityContext:                  # docs/deploy.md says why
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
        seccompProfile: {{- toYaml .seccomp | nindent 10 }}
        appArmorProfile: {{- toYaml .appArmor | nindent 10 }}
        {{- with .values.seLinuxOptions }}
        seLinuxOptions: {{- toYaml . | nindent 10 }}
        {{- end }}
      resources: {{- toYaml .values.resources | nindent 8 }}
      {{- toYaml .hooks | nindent 6 }}
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
      volumeMounts:
        - {name: config, mountPath: /etc/pyexec/pyexec.conf, subPath: pyexec.conf, readOnly: true}
        - {name: tokens, mountPath: /etc/pyexec/tokens, subPath: tokens, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if .values.natsSecret }}
        - {name: nats, mountPath: /etc/pyexec/nats, readOnly: true}
        {{- end }}
        {{- with .values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: config
      configMap: {name: {{ include "pyexec.fullname" .root }}-{{ .part }}}
    - name: tokens
      secret:
        secretName: {{ .root.Values.tokens.existingSecret }}
        defaultMode: 0440
        items: [{key: {{ .root.Values.tokens.key | quote }}, path: tokens}]
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 64Mi}
    {{- with .values.natsSecret }}
    - name: nats
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
  {{- with index $.values $key }}
  {{ $key }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{/* What both parts have besides their pods: .root, .part, .values */}}
{{- define "pyexec.common" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "pyexec.fullname" .root }}-{{ .part }}
  labels: {{- include "pyexec.labels" . | nindent 4 }}
data:
  pyexec.conf: {{ .values.config | quote }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "pyexec.fullname" .root }}-{{ .part }}
  labels: {{- include "pyexec.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels: {{- include "pyexec.selector" . | nindent 6 }}
{{- if .root.Values.serviceMonitor.enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "pyexec.fullname" .root }}-{{ .part }}
  labels: {{- include "pyexec.labels" . | nindent 4 }}
spec:
  selector:
    matchLabels: {{- include "pyexec.selector" . | nindent 6 }}
  endpoints:
    - port: http
      path: /metrics
      interval: {{ .root.Values.serviceMonitor.interval }}
      authorization:
        credentials:
          name: {{ .root.Values.serviceMonitor.existingSecret }}
          key: {{ .root.Values.serviceMonitor.key }}
{{- end }}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "pyexec.fullname" .root }}-{{ .part }}
  labels: {{- include "pyexec.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "pyexec.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with .ingress }}
  ingress:
    - from: {{- toYaml . | nindent 8 }}
      ports:
        - {port: http}
  {{- end }}
  egress:
    {{- with .root.Values.networkPolicy.nats }}
    - to: {{- toYaml .peers | nindent 8 }}
      ports:
        {{- range .ports }}
        - {port: {{ . }}}
        {{- end }}
    {{- end }}
    - to: {{- toYaml .root.Values.networkPolicy.dns | nindent 8 }}
      ports:
        - {port: 53, protocol: UDP}
        - {port: 53}
    {{- with .egress }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}
{{- end -}}
