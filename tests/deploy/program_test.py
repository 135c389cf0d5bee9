"""The program takes what the manifests and docs/deploy.md give it."""
import os
import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest

import manifests_test
import rules
import tools

PROGRAM = tools.ROOT / "target/debug/baton-host"
PLUGIN = tools.ROOT / "target/components/baton_eks.wasm"


def baton_host(*arguments, **environment):
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [PROGRAM, *arguments], capture_output=True, text=True, cwd=folder, timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": folder, **environment},
        )


def containers():
    for name, documents in manifests_test.rendered().items():
        for document in documents:
            if document["kind"] in rules.WORKLOADS:
                yield name, rules.WORKLOADS[document["kind"]](document["spec"])["spec"]["containers"][0]


class Program(unittest.TestCase):
    def test_every_flag_is_one(self):
        """A fleet file that is not there is what stops it, no argument before it."""
        seen = set()
        for name, container in containers():
            arguments = rules.flags(container)
            if tuple(arguments) in seen:
                continue
            seen.add(tuple(arguments))
            # Loopback and any port: nothing is served here.
            arguments = [re.sub(r"^--listen=0.0.0.0:8081$", "--listen=127.0.0.1:0", part) for part in arguments]
            arguments = [part.replace("/etc/baton-host/", "/nowhere-at-all/") for part in arguments]
            done = baton_host(*arguments, HOSTNAME="baton-host-0", JOB_COMPLETION_INDEX="0")
            with self.subTest(name, arguments=arguments):
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("/nowhere-at-all/fleet.toml", done.stderr)
        self.assertGreater(len(seen), 4)

    def test_a_wrong_flag_is_noticed_so(self):
        done = baton_host("serve", "--file=/nowhere-at-all/fleet.toml", "--sards=1", HOSTNAME="baton-host-0")
        self.assertNotIn("/nowhere-at-all/fleet.toml", done.stderr)

    def test_every_flag_is_documented(self):
        documented = (tools.ROOT / "docs/cli.md").read_text() + (tools.ROOT / "docs/serving.md").read_text()
        for name, container in containers():
            for part in rules.flags(container):
                if part.startswith("--"):
                    with self.subTest(name, flag=part):
                        self.assertIn(f"`{part.split('=')[0]}", documented)

    def test_the_code_that_is_not_tried_again_is_a_mistake(self):
        codes = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", (tools.ROOT / "docs/cli.md").read_text(), re.MULTILINE))
        for _, documents in manifests_test.rendered().items():
            for job in rules.of_kind(documents, "CronJob"):
                policy = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
                for code in policy[0]["onExitCodes"]["values"]:
                    self.assertIn("mistake", codes[str(code)])

    def test_every_fleet_file_is_good(self):
        files = {}
        for name, documents in manifests_test.rendered().items():
            for config in rules.of_kind(documents, "ConfigMap"):
                files.setdefault(config["data"]["fleet.toml"], name)
        self.assertGreater(len(files), 1)
        for text, name in files.items():
            with self.subTest(name):
                self.validate(text)

    def test_the_static_keys_of_the_page_are_good(self):
        page = (tools.ROOT / "docs/deploy.md").read_text()
        line = next(line.strip() for line in page.splitlines() if line.strip().startswith("credentials = { eks-access-key"))
        text = line.replace("AKIA…", "AKIA" + "A" * 16)
        self.validate(f'[defaults]\nplugin = "x"\n[[clusters]]\nname = "a"\nregion = "eu-west-1"\naccount = "111122223333"\n{text}\n')

    def validate(self, text):
        """The file with paths of this machine in place of the image's."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for path, own in (("/var/lib/baton-host", "out"), ("/work", "work"), ("/etc/baton-host-keys", "keys")):
                (folder / own).mkdir()
                text = text.replace(f'"{path}', f'"{folder / own}')
            # After those: the clone may be below one of them itself.
            text = re.sub(r'^plugin = .*$', f'plugin = "{PLUGIN}"', text, flags=re.MULTILINE)
            (folder / "keys/secret-access-key").write_text("not-a-real-one")
            (folder / "fleet.toml").write_text(text)
            tomllib.loads(text)
            done = baton_host("fleet", "validate", "--file", str(folder / "fleet.toml"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("not-a-real-one", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
