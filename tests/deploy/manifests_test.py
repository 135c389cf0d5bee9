"""Everything that deploy/ can render is valid, and protected in the same way."""
import copy
import functools
import json
import unittest

import kubernetes_validate

import rules
import tools

DIGEST = "sha256:" + "ab" * 32
GOOD = {
    "as it is": {},
    "three shards": {"shards": 3},
    "irsa": {"credentials": {"kind": "irsa", "irsa": {"roleArn": "arn:aws-us-gov:iam::111122223333:role/teams/baton"}}},
    "static keys": {"credentials": {"kind": "secret", "secret": {"name": "keys"}}},
    "nothing is kept": {"storage": {"kind": "emptyDir", "size": "1Gi"}},
    "pinned": {"image": {"digest": DIGEST, "pullSecrets": ["registry"]}},
    "once": {"mode": "once"},
    "once in four shards": {"mode": "once", "shards": 4, "storage": {"accessMode": "ReadWriteMany"}},
    "once into a claim": {"mode": "once", "shards": 4, "storage": {"existingClaim": "files"}},
    "once with keys": {"mode": "once", "credentials": {"kind": "secret", "secret": {"name": "keys"}}},
    "plugins of a claim": {"plugins": {"persistentVolumeClaim": {"claimName": "plugins", "readOnly": True}}},
    "plugins of an image": {"plugins": {"image": {"reference": f"registry.example.com/plugins@{DIGEST}"}}},
    "a config map": {"existingConfigMap": "mine", "fleet": ""},
    "a lock": {"lock": "version = 1\n"},
    "everything": {
        "shards": 2, "image": {"repository": "r.example.com/x", "tag": "1.2.3", "pullPolicy": "Always"},
        "serviceAccount": {"name": "reader"}, "storage": {"className": "gp3", "size": "20Gi"},
        "serve": {"graceSeconds": 120}, "logLevel": "debug", "priorityClassName": "low",
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
        "networkPolicy": {
            "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": 3128}]}],
        },
        "podAnnotations": {"prometheus.io/scrape": "true"}, "podLabels": {"team": "access"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    },
    "no network policy": {"networkPolicy": {"enabled": False}},
}
# Values, and what helm has to say about them.
BAD = {
    "no such value": ({"replicas": 3}, "replicas"),
    "a typing error inside": ({"image": {"digset": DIGEST}}, "digset"),
    "no mode": ({"mode": "job"}, "mode"),
    "no shards": ({"shards": 0}, "shards"),
    "shards as text": ({"shards": "3"}, "shards"),
    "half a digest": ({"image": {"digest": "sha256:abc"}}, "digest"),
    "whatever is newest": ({"image": {"tag": "latest"}}, "tag"),
    "no kind of credentials": ({"credentials": {"kind": "node"}}, "credentials/kind"),
    "irsa without a role": ({"credentials": {"kind": "irsa"}}, "roleArn"),
    "irsa with a user": ({"credentials": {"kind": "irsa", "irsa": {"roleArn": "arn:aws:iam::111122223333:user/x"}}}, "roleArn"),
    "a role that nothing uses": ({"credentials": {"irsa": {"roleArn": "arn:aws:iam::111122223333:role/x"}}}, "roleArn"),
    "keys without a secret": ({"credentials": {"kind": "secret"}}, "secret"),
    "files that vanish": ({"mode": "once", "storage": {"kind": "emptyDir"}}, "storage/kind"),
    "shards on one node's disk": ({"mode": "once", "shards": 2}, "accessMode"),
    "one claim for all": ({"storage": {"existingClaim": "files"}}, "existingClaim"),
    "no fleet": ({"fleet": ""}, "fleet"),
    "no schedule": ({"mode": "once", "once": {"schedule": "every day"}}, "schedule"),
    "no limits": ({"resources": {"limits": None}}, "limits"),
    "no limit of memory": ({"resources": {"limits": {"memory": None}}}, "memory"),
    "a secret in the environment": ({"env": [{"name": "BATON_EKS_SECRET_ACCESS_KEY", "value": "x"}]}, "env/0/name"),
    "a reference in the environment": ({"env": [{"name": "X", "valueFrom": {}}]}, "valueFrom"),
    "the node's folders": ({"plugins": {"hostPath": {"path": "/"}}}, "hostPath"),
    "two sources of plugins": ({"plugins": {"image": {"reference": "x"}, "csi": {"driver": "x"}}}, "plugins"),
    "its own security": ({"securityContext": {"runAsUser": 0}}, "securityContext"),
    "a way out for everybody": ({"networkPolicy": {"extraEgress": [{}]}}, "extraEgress/0"),
    "a label of ours": ({"podLabels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name"),
    "work without bounds": ({"workSize": "0Gi"}, "workSize"),
}


def keys(kind, file):
    return f"resources: ['@/{kind}']\ncomponents: ['@/components/{file}']\n"


def kustomizations():
    for folder in ("serve", "once", "example"):
        yield f"kustomize {folder}", tools.kustomize(tools.KUSTOMIZE / folder)
    for kind in ("serve", "once"):
        for component in ("irsa", "static-keys"):
            yield f"kustomize {kind} with {component}", tools.overlay(keys(kind, component))


@functools.cache
def rendered():
    found = dict(kustomizations())
    for name, values in GOOD.items():
        found[f"helm, {name}"] = tools.template(values)
    return found


class Manifests(unittest.TestCase):
    def test_every_manifest_is_what_kubernetes_takes(self):
        # A namespace's reader of YAML is not the API server: unknown keys are refused too.
        for name, documents in rendered().items():
            versions = tools.KUBERNETES if name in ("kustomize serve", "kustomize once") else tools.KUBERNETES[-1:]
            if name in ("helm, as it is", "helm, once"):
                versions = tools.KUBERNETES
            for version in versions:
                if name.startswith("helm"):
                    documents = tools.template(GOOD[name.removeprefix("helm, ")], version)
                for document in documents:
                    with self.subTest(name, kind=document["kind"], version=version):
                        self.assertEqual(kubernetes_validate.validate(document, version, strict=True), version)

    def test_the_schemas_are_strict(self):
        documents = copy.deepcopy(rendered()["kustomize serve"])
        stateful = rules.of_kind(documents, "StatefulSet")[0]
        stateful["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(stateful, tools.KUBERNETES[-1], strict=True)

    def test_every_pod_is_protected(self):
        for name, documents in rendered().items():
            with self.subTest(name):
                self.assertEqual(rules.broken(documents), [])

    def test_no_key_that_protects_can_be_taken_away(self):
        """Takes each one away, one after the other: a rule has to notice."""
        for name, documents in rendered().items():
            for place in protecting(documents):
                changed = copy.deepcopy(documents)
                remove(changed, place)
                with self.subTest(name, without=".".join(map(str, place))):
                    self.assertNotEqual(rules.broken(changed), [])

    def test_nothing_that_opens_can_be_added(self):
        for name in ("kustomize serve", "kustomize once", "helm, as it is", "helm, once"):
            for addition in ADDITIONS:
                changed = copy.deepcopy(rendered()[name])
                workload = next(d for d in changed if d["kind"] in rules.WORKLOADS)
                pod = rules.WORKLOADS[workload["kind"]](workload["spec"])["spec"]
                addition(pod, pod["containers"][0])
                with self.subTest(name, addition=ADDITIONS.index(addition)):
                    self.assertNotEqual(rules.broken(changed), [])

    def test_shards_are_as_many_as_pods(self):
        documents = tools.template({"shards": 5})
        stateful = rules.of_kind(documents, "StatefulSet")[0]
        self.assertEqual(stateful["spec"]["replicas"], 5)
        self.assertEqual(rules.flag(stateful["spec"]["template"]["spec"]["containers"][0], "shards"), "5")

    def test_no_instance_metadata_is_in_reach(self):
        for name, documents in rendered().items():
            for policy in rules.of_kind(documents, "NetworkPolicy"):
                blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", [])]
                for block in blocks:
                    with self.subTest(name, cidr=block["cidr"]):
                        everything = block["cidr"] in ("0.0.0.0/0", "::/0")
                        self.assertEqual(everything, bool(block.get("except")))
                        self.assertNotIn("169.254.169.254", json.dumps(block))

    def test_release_names_do_not_collide(self):
        names = {
            document["metadata"]["name"]
            for release in ("a", "b", "baton-host")
            for document in tools.template({}, release=release)
        }
        self.assertEqual(names, {"a-baton-host", "b-baton-host", "baton-host"})


class Values(unittest.TestCase):
    def test_helm_finds_nothing_to_say(self):
        tools.run(tools.helm(), "lint", "--strict", "--quiet", tools.CHART)

    def test_bad_values_are_refused_and_named(self):
        for name, (values, said) in BAD.items():
            with self.subTest(name):
                with self.assertRaises(tools.Refused) as refused:
                    tools.template(values)
                self.assertIn("schema", str(refused.exception))
                self.assertIn(said, str(refused.exception))

    def test_every_value_is_in_the_schema_and_the_other_way_round(self):
        values = tools.documents((tools.CHART / "values.yaml").read_text())[0]
        schema = json.loads((tools.CHART / "values.schema.json").read_text())
        declared = set(schema["properties"]) - {"global"}
        self.assertEqual(declared, set(values))
        for name, value in values.items():
            inner = schema["properties"][name]
            if isinstance(value, dict) and value and "properties" in inner:
                with self.subTest(name):
                    self.assertEqual(set(inner["properties"]), set(value))

    def test_an_older_kubernetes_is_refused(self):
        with self.assertRaises(tools.Refused) as refused:
            tools.template({}, "1.30")
        self.assertIn("kubeVersion", str(refused.exception))


PROTECTING = {
    "securityContext", "automountServiceAccountToken", "enableServiceLinks", "resources", "sizeLimit",
    "startupProbe", "livenessProbe", "readinessProbe", "terminationGracePeriodSeconds", "completionMode",
    "concurrencyPolicy", "activeDeadlineSeconds", "backoffLimitPerIndex", "policyTypes", "defaultMode",
    "clusterIP", "podManagementPolicy",
}
# Within those: they tune and do not protect.
TUNING = {"periodSeconds", "timeoutSeconds", "failureThreshold", "ephemeral-storage"}


def protecting(documents, place=(), inside=False):
    """The places of all values that protect, leaves and whole branches."""
    items = enumerate(documents) if isinstance(documents, list) else documents.items()
    for key, value in items:
        here = place + (key,)
        if key in TUNING or key == "volumeClaimTemplates" or place[-1:] == ("metadata",):
            continue
        if key == "spec" and documents.get("kind") == "PersistentVolumeClaim":
            continue
        protects = inside or key in PROTECTING or (key == "readOnly" and value is True and "volumeMounts" in place)
        if protects:
            yield here
        if isinstance(value, (dict, list)):
            yield from protecting(value, here, protects)


def remove(documents, place):
    for key in place[:-1]:
        documents = documents[key]
    del documents[place[-1]]


ADDITIONS = [
    lambda pod, container: pod.update(hostNetwork=True),
    lambda pod, container: pod.update(hostPID=True),
    lambda pod, container: pod["containers"].append({"name": "shell", "image": "busybox"}),
    lambda pod, container: pod.update(initContainers=[copy.deepcopy(container)]),
    lambda pod, container: pod["volumes"].append({"name": "work2", "hostPath": {"path": "/"}}),
    lambda pod, container: pod["volumes"].append({"name": "token", "projected": {"sources": []}}),
    lambda pod, container: container["securityContext"].update(privileged=True),
    lambda pod, container: container["securityContext"].update(runAsUser=0),
    lambda pod, container: container["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    lambda pod, container: container["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
    lambda pod, container: container["env"].append({"name": "X", "valueFrom": {"secretKeyRef": {}}}),
    lambda pod, container: container.update(envFrom=[{"secretRef": {"name": "x"}}]),
    lambda pod, container: container.update(command=["/bin/sh"]),
    lambda pod, container: container.update(image="registry.example.com/baton-host"),
    lambda pod, container: container.update(image="registry.example.com/baton-host:latest"),
    lambda pod, container: container.update(ports=[{"name": "http", "containerPort": 8081, "hostPort": 80}]),
    lambda pod, container: container["args"].append("--shards=2"),
]


if __name__ == "__main__":
    unittest.main()
