"""What every rendered manifest has to keep, whatever values were given.

`broken(documents)` returns one sentence for each rule that does not hold.
"""
import re
import tomllib

WORKLOADS = {
    "StatefulSet": lambda spec: spec["template"],
    "CronJob": lambda spec: spec["jobTemplate"]["spec"]["template"],
}
# The image's own folder of plugins, and where more are mounted.
PLUGINS = ("/opt/baton-host/plugins/", "/plugins/")
SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|EXTERNAL_ID|ACCESS_KEY")


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def named(documents, kind, name):
    return next((d for d in of_kind(documents, kind) if d["metadata"]["name"] == name), None)


def broken(documents):
    found = []
    workloads = [d for d in documents if d["kind"] in WORKLOADS]
    others = {d["kind"] for d in documents} - set(WORKLOADS) - {
        "ServiceAccount", "ConfigMap", "Service", "NetworkPolicy", "PersistentVolumeClaim",
    }
    if others:
        found.append(f"nobody expects {', '.join(sorted(others))}")
    if len(workloads) != 1:
        found.append(f"{len(workloads)} workloads instead of one")
    for workload in workloads:
        template = WORKLOADS[workload["kind"]](workload["spec"])
        pod = template["spec"]
        found += pod_rules(pod)
        for container in pod.get("initContainers", []) + pod["containers"]:
            found += [f"{container['name']}: {rule}" for rule in container_rules(container)]
        if len(pod["containers"]) != 1 or pod.get("initContainers"):
            found.append("there is another container than the host's")
        found += volume_rules(pod)
        found += workload_rules(documents, workload, template)
        found += config_rules(documents, pod)
    return found


def pod_rules(pod):
    security = pod.get("securityContext", {})
    yield from wanted(pod, "automountServiceAccountToken", False)
    yield from wanted(pod, "enableServiceLinks", False)
    yield from wanted(security, "runAsNonRoot", True)
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        yield from wanted(security, key, 65532)
    yield from wanted(security, "fsGroupChangePolicy", "OnRootMismatch")
    yield from wanted(security.get("seccompProfile", {}), "type", "RuntimeDefault")
    for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.get(key):
            yield f"{key} is on"
    if pod.get("hostAliases") or security.get("sysctls") or security.get("supplementalGroups"):
        yield "the pod has aliases, sysctls or groups"


def wanted(there, key, value):
    # `is`: 1 is not True.
    if key not in there or type(there[key]) is not type(value) or there[key] != value:
        yield f"{key} is {there.get(key)!r}, not {value!r}"


def container_rules(container):
    security = container.get("securityContext", {})
    yield from wanted(security, "allowPrivilegeEscalation", False)
    yield from wanted(security, "readOnlyRootFilesystem", True)
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield f"capabilities are {security.get('capabilities')}"
    for key in sorted(set(security) - {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}):
        yield f"securityContext has {key}, which may undo the pod's"
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if not resources.get(kind, {}).get(resource):
                yield f"no {kind} of {resource}"
    image = container["image"]
    if not re.search(r"@sha256:[0-9a-f]{64}$|:[A-Za-z0-9_][A-Za-z0-9_.-]*$", image) or image.endswith(":latest"):
        yield f"the image {image} has neither a version nor a digest"
    environment = container.get("env", [])
    for variable in environment:
        if SECRET.search(variable["name"]) or "valueFrom" in variable:
            yield f"{variable['name']} may be a secret in the environment"
    if container.get("envFrom"):
        yield "there is an envFrom"
    if {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"} not in environment:
        yield "the node's own role is in reach"
    if {"name": "TMPDIR", "value": "/work"} not in environment:
        yield "access files are unpacked where little fits"
    for port in container.get("ports", []):
        if "hostPort" in port:
            yield "there is a hostPort"
    if "command" in container or "lifecycle" in container:
        yield "there is a command or a hook beside the image's"


def volume_rules(pod):
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    mounts = [mount for container in pod["containers"] for mount in container.get("volumeMounts", [])]
    for name in sorted({mount["name"] for mount in mounts} - set(volumes) - {"data"}):
        yield f"no volume {name}"
    for name in sorted(set(volumes) - {mount["name"] for mount in mounts}):
        yield f"nobody mounts {name}"
    for name, volume in volumes.items():
        kinds = set(volume) - {"name"}
        if kinds - {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "image", "csi"}:
            yield f"volume {name} is {kinds}"
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            yield f"{name} has no size limit"
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o440:
            yield f"everybody may read {name}"
    for mount in mounts:
        if mount["name"] in ("config", "keys", "plugins") and mount.get("readOnly") is not True:
            yield f"{mount['name']} can be written"


def flags(container):
    """Arguments in order, `$(NAME)` filled in as the kubelet does."""
    values = {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
    return [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], part) for part in container["args"]]


def flag(container, name):
    found = [part.split("=", 1)[1] for part in flags(container) if part.startswith(f"--{name}=")]
    return found[0] if len(found) == 1 else None


def workload_rules(documents, workload, template):
    pod, spec = template["spec"], workload["spec"]
    container = pod["containers"][0]
    labels = template["metadata"]["labels"].items()
    policy = of_kind(documents, "NetworkPolicy")
    for document in policy:
        if not document["spec"]["podSelector"]["matchLabels"].items() <= labels:
            yield "the network policy is for other pods"
        if set(document["spec"].get("policyTypes", [])) != {"Ingress", "Egress"}:
            yield "the network policy leaves a direction open"
    account = named(documents, "ServiceAccount", pod.get("serviceAccountName"))
    if account is None:
        yield "the service account is not among the manifests"
    else:
        yield from wanted(account, "automountServiceAccountToken", False)
    shards = flag(container, "shards")
    if workload["kind"] == "StatefulSet":
        counts = [spec["replicas"]]
        yield from serving_rules(documents, spec, container, pod)
        if not spec["selector"]["matchLabels"].items() <= labels:
            yield "the selector is for other pods"
    else:
        job = spec["jobTemplate"]["spec"]
        counts = [job["completions"], job["parallelism"]]
        yield from wanted(job, "completionMode", "Indexed")
        yield from wanted(spec, "concurrencyPolicy", "Forbid")
        yield from wanted(pod, "restartPolicy", "Never")
        if pod.get("terminationGracePeriodSeconds", 30) < 60:
            yield "a file that is being written may be lost"
        if not job.get("activeDeadlineSeconds") or "backoffLimitPerIndex" not in job:
            yield "a run may go on for ever"
        if flags(container)[:2] != ["fleet", "sync"]:
            yield "it does not sync a fleet"
    if any(str(count) != shards for count in counts):
        yield f"{counts} pods and {shards} shards"


def serving_rules(documents, spec, container, pod):
    if flags(container)[:1] != ["serve"]:
        yield "it does not serve"
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    listen = flag(container, "listen") or ""
    if listen != f"0.0.0.0:{ports.get('http')}":
        yield f"it listens on {listen} and has the ports {ports}"
    for probe, path in (("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")):
        get = container.get(probe, {}).get("httpGet")
        if get != {"path": path, "port": "http"}:
            yield f"{probe} asks {get}"
    grace = re.fullmatch(r"(\d+)s", flag(container, "grace") or "")
    if not grace or int(grace[1]) >= pod.get("terminationGracePeriodSeconds", 30):
        yield "it is killed within its own grace period"
    service = named(documents, "Service", spec["serviceName"])
    if service is None or service["spec"].get("clusterIP") != "None":
        yield "no headless service"
    elif not service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items():
        yield "the service is for other pods"
    if spec.get("podManagementPolicy") != "Parallel":
        yield "one broken shard holds up the others"


def config_rules(documents, pod):
    """The fleet file, where it is among the manifests, fits the pod's folders."""
    container = pod["containers"][0]
    if flag(container, "file") != "/etc/baton-host/fleet.toml":
        yield "the fleet file is elsewhere"
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    config = named(documents, "ConfigMap", volumes.get("config", {}).get("configMap", {}).get("name"))
    if config is None:
        return
    fleet = tomllib.loads(config["data"]["fleet.toml"])
    mounts = container.get("volumeMounts", [])
    writable = [mount["mountPath"] for mount in mounts if not mount.get("readOnly")]
    for table in [fleet.get("defaults", {})] + fleet.get("clusters", []) + fleet.get("discover", []):
        for key in ("output", "work-folder"):
            if key in table and table[key] not in writable:
                yield f"{key} is {table[key]}, which cannot be written"
        if "plugin" in table and not table["plugin"].startswith(PLUGINS):
            yield f"no plugin is at {table['plugin']}"
    if "output" not in fleet.get("defaults", {}):
        yield "access files would be written beside the fleet file"
