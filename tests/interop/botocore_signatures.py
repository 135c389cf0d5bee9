#!/usr/bin/env python3
"""Signs random requests with botocore, for comparison with our signer.

usage: botocore_signatures.py OUTPUT.json [COUNT [SEED]]

The requests are of the shapes that the host sends to EKS, IAM and STS: ARNs
with paths in the path, queries, form and JSON bodies, with and without session
tokens, in all partitions; and the presigned URL of an EKS token. The test
tests/e2e/tests/signatures.rs signs them again.
"""
import base64
import datetime
import json
import random
import string
import sys
import urllib.parse

import pinned

BOTOCORE = "botocore==1.44.5"

REGIONS = {
    "us-east-1": ("aws", "amazonaws.com", "us-east-1"),
    "eu-central-2": ("aws", "amazonaws.com", "us-east-1"),
    "us-gov-west-1": ("aws-us-gov", "amazonaws.com", "us-gov-west-1"),
    "cn-northwest-1": ("aws-cn", "amazonaws.com.cn", "cn-north-1"),
    "us-iso-east-1": ("aws-iso", "c2s.ic.gov", "us-iso-east-1"),
    "eusc-de-east-1": ("aws-eusc", "amazonaws.eu", "eusc-de-east-1"),
}
ALNUM = string.ascii_letters + string.digits


def quote(value):
    """As every SDK writes a path parameter or a query value."""
    return urllib.parse.quote(value, safe="-._~")


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, alphabet, low, high):
        return "".join(self.random.choice(alphabet) for _ in range(self.random.randint(low, high)))

    def base64(self, low, high):
        return base64.b64encode(self.random.randbytes(self.random.randint(low, high))).decode()

    def principal(self, partition):
        kind = self.random.choice(["role", "user", "role/aws-reserved/sso.amazonaws.com/eu-west-1"])
        path = "".join(f"/{self.text(ALNUM, 1, 8)}" for _ in range(self.random.randint(0, 3)))
        name = self.text(ALNUM + "+=,.@_-", 1, 40)
        return f"arn:{partition}:iam::{self.text(string.digits, 12, 12)}:{kind}{path}/{name}"

    def keys(self):
        token = self.base64(20, 900) if self.random.random() < 0.6 else None
        return {
            "access_key": "A" + self.text(string.ascii_uppercase + string.digits, 15, 19),
            "secret_key": self.base64(30, 30),
            "session_token": token,
            "time": self.random.randint(1_500_000_000, 2_500_000_000),
        }

    def eks(self, region):
        partition, suffix, _ = REGIONS[region]
        base = f"https://eks.{region}.{suffix}/clusters/{self.text(ALNUM + '-_', 1, 60)}"
        entry = f"{base}/access-entries/{quote(self.principal(partition))}"
        policy = f"arn:{partition}:eks::aws:cluster-access-policy/{self.text(ALNUM, 5, 30)}"
        body, query = "", []
        method, url = self.random.choice(
            [
                ("GET", base),
                ("GET", f"{base}/access-entries"),
                ("GET", entry),
                ("GET", f"{entry}/access-policies"),
                ("GET", f"{base}/pod-identity-associations"),
                ("POST", f"{base}/access-entries"),
                ("POST", f"{entry}/access-policies"),
                ("DELETE", f"{entry}/access-policies/{quote(policy)}"),
                ("GET", f"https://eks.{region}.{suffix}/access-policies"),
            ]
        )
        if method == "POST":
            body = json.dumps(
                {
                    "principalArn": self.principal(partition),
                    "kubernetesGroups": [self.text(ALNUM + ":-ü€", 1, 12) for _ in range(3)],
                },
                ensure_ascii=self.random.random() < 0.5,
            )
        elif method == "GET":
            query = [("maxResults", str(self.random.randint(1, 100)))]
            if self.random.random() < 0.7:
                query.append(("nextToken", self.base64(1, 200)))
            if self.random.random() < 0.3:
                query.append(("associatedPolicyArn", policy))
            if self.random.random() < 0.3:
                query.append(("namespace", self.text(ALNUM + " +~*'()!&=%/ü", 0, 12)))
            self.random.shuffle(query)
        if query:
            url += "?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
        return "eks", region, method, url, "application/json" if body else None, body

    def form(self, service, region, suffix, signing_region, version):
        pairs = [("Action", self.text(string.ascii_letters, 5, 25)), ("Version", version)]
        for _ in range(self.random.randint(0, 5)):
            pairs.append((self.text(ALNUM + ".", 1, 20), self.text(string.printable + "äß€", 0, 80)))
        self.random.shuffle(pairs)
        host = f"iam.{suffix}" if service == "iam" else f"sts.{region}.{suffix}"
        content_type = "application/x-www-form-urlencoded; charset=utf-8"
        body = urllib.parse.urlencode(pairs)
        return service, signing_region, "POST", f"https://{host}/", content_type, body

    def request(self):
        region = self.random.choice(list(REGIONS))
        _, suffix, iam_region = REGIONS[region]
        kind = self.random.choice(["eks", "eks", "eks", "iam", "sts"])
        if kind == "eks":
            return self.eks(region)
        if kind == "iam":
            return self.form("iam", region, suffix, iam_region, "2010-05-08")
        return self.form("sts", region, suffix, region, "2011-06-15")


def main():
    output = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 20240115

    import botocore
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    moment = {}
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment["now"]

    def credentials(keys):
        seconds = datetime.timedelta(seconds=keys["time"])
        moment["now"] = datetime.datetime(1970, 1, 1) + seconds
        return Credentials(keys["access_key"], keys["secret_key"], keys["session_token"])

    maker = Maker(seed)
    requests = []
    for _ in range(count):
        keys = maker.keys()
        service, region, method, url, content_type, body = maker.request()
        headers = {"Content-Type": content_type} if content_type else {}
        request = AWSRequest(method=method, url=url, headers=headers, data=body.encode() or None)
        botocore.auth.SigV4Auth(credentials(keys), service, region).add_auth(request)
        requests.append(
            {
                **keys,
                "service": service,
                "region": region,
                "method": method,
                "url": url,
                "content_type": content_type,
                "body": body,
                "authorization": request.headers["Authorization"],
                "date": request.headers["X-Amz-Date"],
            }
        )
    tokens = []
    for _ in range(max(1, count // 10)):
        keys = maker.keys()
        region = maker.random.choice(list(REGIONS))
        host = f"sts.{region}.{REGIONS[region][1]}"
        cluster = maker.text(ALNUM + "-_", 1, 100)
        request = AWSRequest(
            method="GET",
            url=f"https://{host}/?Action=GetCallerIdentity&Version=2011-06-15",
            headers={"x-k8s-aws-id": cluster},
        )
        botocore.auth.SigV4QueryAuth(credentials(keys), "sts", region, expires=60).add_auth(request)
        tokens.append({**keys, "region": region, "host": host, "cluster": cluster, "url": request.url})
    with open(output, "w", encoding="utf-8") as file:
        vectors = {"made_by": BOTOCORE, "seed": seed, "requests": requests, "tokens": tokens}
        json.dump(vectors, file)
    print(f"botocore {botocore.__version__} signed {len(requests)} requests and {len(tokens)} tokens", file=sys.stderr)


if __name__ == "__main__":
    pinned.use(BOTOCORE)
    main()
