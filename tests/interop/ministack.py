#!/usr/bin/env python3
"""Runs a command against ministack, an AWS emulator that checks signatures.

usage: ministack.py [COMMAND [ARGUMENT...]]

Starts a pinned ministack with authentication on, fills an account through
boto3 (a user with a key, a role with a trust policy and an external id, a
cluster with access entries), and runs COMMAND with the variables that make
baton-host use it; its exit code is ours. Without a command it prints the
variables as exports and waits until its input ends.

ministack has STS, IAM and EKS, and no Kubernetes API: the cluster's endpoint
leads nowhere. It answers ListAccessPolicies with an error and never pages.
"""
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import pinned

PACKAGES = ("ministack==1.5.33", "boto3==1.43.106")
ACCOUNT = "000000000000"
REGION = "eu-west-1"
CLUSTER = "interop"
EXTERNAL_ID = "an-external-id"
READ = [
    "eks:DescribeCluster",
    "eks:ListAccessEntries",
    "eks:DescribeAccessEntry",
    "eks:ListAccessPolicies",
    "eks:ListAssociatedAccessPolicies",
    "eks:ListPodIdentityAssociations",
    "eks:DescribePodIdentityAssociation",
    "iam:ListRoles",
]
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def start():
    """The process and its URL, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BATON_"))},
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "iam,sts,eks",
        "SFTP_ENABLED": "0",
    }
    log = tempfile.TemporaryFile(mode="w+")
    program = os.path.join(sys.prefix, "bin", "ministack")
    server = subprocess.Popen([program], env=environment, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_ministack/health", timeout=1):
                return server, url, log
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    server.kill()
    log.seek(0)
    sys.exit(f"ministack does not answer at {url}:\n{log.read()}")


def fill(url):
    """Fills the account; answers the variables for baton-host."""
    import boto3

    def client(service):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    iam, eks = client("iam"), client("eks")

    def role(name, principal, path="/", condition=None):
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        if condition:
            statement["Condition"] = condition
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)
        return made["Role"]["Arn"]

    iam.create_user(UserName="baton")
    key = iam.create_access_key(UserName="baton")["AccessKey"]
    user = f"arn:aws:iam::{ACCOUNT}:user/baton"
    reader = role(
        "baton-reader",
        {"AWS": user},
        condition={"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    )
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": READ, "Resource": "*"}]}
    iam.put_role_policy(RoleName="baton-reader", PolicyName="read", PolicyDocument=json.dumps(allow))
    assume = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": reader}],
    }
    iam.put_user_policy(UserName="baton", PolicyName="assume", PolicyDocument=json.dumps(assume))

    cluster_role = role("cluster", {"Service": "eks.amazonaws.com"})
    eks.create_cluster(
        name=CLUSTER,
        roleArn=cluster_role,
        resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
        accessConfig={"authenticationMode": "API"},
    )
    people = role("people", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, path="/team/")
    admins = role("admins", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    eks.create_access_entry(clusterName=CLUSTER, principalArn=people, kubernetesGroups=["viewers"])
    eks.create_access_entry(clusterName=CLUSTER, principalArn=admins)
    eks.create_access_entry(clusterName=CLUSTER, principalArn=user)
    eks.associate_access_policy(
        clusterName=CLUSTER,
        principalArn=people,
        policyArn=VIEW,
        accessScope={"type": "namespace", "namespaces": ["default", "dev-*"]},
    )
    eks.associate_access_policy(
        clusterName=CLUSTER,
        principalArn=admins,
        policyArn=ADMIN,
        accessScope={"type": "cluster"},
    )
    eks.create_pod_identity_association(
        clusterName=CLUSTER,
        namespace="default",
        serviceAccount="app",
        roleArn=role("app", {"Service": "pods.eks.amazonaws.com"}),
    )
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BATON_EKS_REGION": REGION,
        "BATON_EKS_CLUSTER_NAME": CLUSTER,
        "BATON_EKS_ACCESS_KEY": key["AccessKeyId"],
        "BATON_EKS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "BATON_ROLE_ARN": reader,
        "BATON_EXTERNAL_ID": EXTERNAL_ID,
    }


def main():
    server, url, _log = start()
    try:
        variables = fill(url)
        if len(sys.argv) > 1:
            return subprocess.run(sys.argv[1:], env={**os.environ, **variables}).returncode
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        sys.stdin.read()
        return 0
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    pinned.use(*PACKAGES)
    sys.exit(main())
