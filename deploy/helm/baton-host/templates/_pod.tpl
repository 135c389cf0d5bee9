{{- /* The pod of both workloads. What protects it cannot be set by values. */ -}}
{{- define "baton-host.pod" -}}
metadata:
  labels:
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "baton-host.selector" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "baton-host.service-account" . }}
  # The host asks the API server that it runs on nothing. IRSA and Pod Identity
  # bring a token of their own, for AWS only.
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if eq .Values.mode "once" }}
  restartPolicy: Never
  terminationGracePeriodSeconds: 60
  {{- else }}
  terminationGracePeriodSeconds: {{ add .Values.serve.graceSeconds 15 }}
  {{- end }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: baton-host
      image: {{ include "baton-host.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- if eq .Values.mode "once" }}
        - fleet
        - sync
        {{- else }}
        - serve
        - --listen=0.0.0.0:8081
        - --grace={{ .Values.serve.graceSeconds }}s
        {{- end }}
        - --file=/etc/baton-host/fleet.toml
        - --shards={{ .Values.shards }}
        - --log-level={{ .Values.logLevel }}
      env:
        # The node's own role is nobody's business here.
        - name: AWS_EC2_METADATA_DISABLED
          value: "true"
        # Where access files are unpacked unless a fleet file says otherwise:
        # /tmp is small, and a full one evicts the pod.
        - name: TMPDIR
          value: /work
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if eq .Values.mode "serve" }}
      ports:
        - name: http
          containerPort: 8081
      startupProbe:
        httpGet: { path: /live, port: http }
        periodSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: { path: /live, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
      readinessProbe:
        httpGet: { path: /ready, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - { name: config, mountPath: /etc/baton-host, readOnly: true }
        - { name: data, mountPath: /var/lib/baton-host }
        - { name: work, mountPath: /work }
        - { name: tmp, mountPath: /tmp }
        {{- if .Values.plugins }}
        - { name: plugins, mountPath: /plugins, readOnly: true }
        {{- end }}
        {{- if eq .Values.credentials.kind "secret" }}
        - { name: keys, mountPath: /etc/baton-host-keys, readOnly: true }
        {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "baton-host.selector" . | nindent 10 }}
  volumes:
    - name: config
      configMap:
        name: {{ .Values.existingConfigMap | default (include "baton-host.name" .) }}
    {{- if eq .Values.mode "once" }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.storage.existingClaim | default (include "baton-host.name" .) }}
    {{- else if eq .Values.storage.kind "emptyDir" }}
    - name: data
      emptyDir:
        sizeLimit: {{ .Values.storage.size }}
    {{- end }}
    - name: work
      emptyDir:
        sizeLimit: {{ .Values.workSize }}
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- with .Values.plugins }}
    - name: plugins
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if eq .Values.credentials.kind "secret" }}
    - name: keys
      secret:
        secretName: {{ .Values.credentials.secret.name }}
        defaultMode: 0440
    {{- end }}
{{- end }}
