{{/*
Every object has a fixed name, whatever the release is called: documents, events and
conditions name these objects, and a second controller in a cluster would only
compete for the same issuers. Helm refuses a second release, because the names of
its cluster-wide objects are taken.
*/}}
{{- define "regfish-issuer.name" -}}
regfish-issuer
{{- end }}

{{/* Labels by which the Deployment knows its pods. They can never change. */}}
{{- define "regfish-issuer.selectorLabels" -}}
app.kubernetes.io/name: {{ include "regfish-issuer.name" . }}
{{- end }}

{{- define "regfish-issuer.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "regfish-issuer.selectorLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "regfish-issuer.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The controller, as the subject of a binding. */}}
{{- define "regfish-issuer.subject" -}}
kind: ServiceAccount
name: {{ .Values.serviceAccount.name }}
namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "regfish-issuer.clusterResourceNamespace" -}}
{{ .Values.clusterResourceNamespace | default .Release.Namespace }}
{{- end }}

{{/*
The rules of one kind of role, which are generated from the controller's code. Use:
include "regfish-issuer.rules" (list . "ClusterRole")
*/}}
{{- define "regfish-issuer.rules" -}}
{{- $kind := index . 1 -}}
{{- range splitList "\n---\n" ((index . 0).Files.Get "files/role.yaml") -}}
{{- $role := fromYaml . -}}
{{- if eq $role.kind $kind -}}
{{ toYaml $role.rules }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The TLS settings of a scrape: whose certificate is to be trusted. */}}
{{- define "regfish-issuer.scrapeTLS" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 1 -}}
{{- if $monitor.tlsConfig -}}
{{ toYaml $monitor.tlsConfig }}
{{- else if $root.Values.metrics.certificateSecret -}}
serverName: {{ include "regfish-issuer.name" $root }}-metrics.{{ $root.Release.Namespace }}.svc
ca:
  secret:
    name: {{ $root.Values.metrics.certificateSecret }}
    key: ca.crt
{{- else -}}
# The certificate is made at start and signed by nobody.
insecureSkipVerify: true
{{- end -}}
{{- end }}

{{/* What both monitors have in common. */}}
{{- define "regfish-issuer.monitor" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 1 -}}
metadata:
  name: {{ include "regfish-issuer.name" $root }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "regfish-issuer.labels" $root | nindent 4 }}
    {{- with $monitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $monitor.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "regfish-issuer.scrape" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 1 -}}
port: metrics
scheme: https
path: /metrics
# The namespace of a metric is that of a request, not of this pod.
honorLabels: true
{{- with $monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with $monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
tlsConfig:
  {{- include "regfish-issuer.scrapeTLS" (list $root $monitor) | nindent 2 }}
{{- end }}

{{/* CIDRs as peers of a NetworkPolicy's rule, without the addresses that stay out of reach. */}}
{{- define "regfish-issuer.peers" -}}
{{- $root := index . 0 -}}
{{- range $cidr := index . 1 }}
- ipBlock:
    cidr: {{ $cidr | quote }}
    {{- /* An exception has to lie within its CIDR, and only of the whole net that is certain. */}}
    {{- $except := list }}
    {{- range $root.Values.networkPolicy.exceptCIDRs }}
    {{- if eq $cidr (ternary "::/0" "0.0.0.0/0" (contains ":" .)) }}
    {{- $except = append $except . }}
    {{- end }}
    {{- end }}
    {{- with $except }}
    except:
    {{- range . }}
    - {{ . | quote }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
