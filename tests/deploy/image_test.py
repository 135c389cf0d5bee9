"""The image: what can be said about it without building one.

A container build needs a registry for its bases, so it is not run here. The
file is linted, its shape is checked, and its one build command runs in the
clone with the program of the tests.
"""
import os
import pathlib
import re
import stat
import subprocess
import tempfile
import unittest

import rules
import tools

FILE = tools.ROOT / "Containerfile"


def instructions():
    text = re.sub(r"^\s*#.*\n", "", FILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(re.sub(r"\s+", " ", line).split(" ", 1)) for line in text.splitlines() if line.strip()]


def last_stage():
    found = instructions()
    start = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


class Containerfile(unittest.TestCase):
    def test_hadolint_finds_nothing_to_say(self):
        self.assertEqual(tools.run(tools.in_environment("hadolint"), "--no-color", FILE), "")

    def test_both_bases_can_be_pinned(self):
        words = instructions()
        arguments = {rest.split("=")[0] for word, rest in words if word == "ARG"}
        bases = [rest for word, rest in words if word == "FROM"]
        self.assertEqual(len(bases), 2)
        for base in bases:
            name = re.search(r"\$\{(\w+)\}", base)
            self.assertIsNotNone(name, base)
            self.assertIn(name[1], arguments)

    def test_nothing_is_emulated(self):
        first = next(rest for word, rest in instructions() if word == "FROM")
        self.assertIn("--platform=$BUILDPLATFORM", first)
        self.assertIn(("ARG", "TARGETARCH"), instructions())

    def test_the_last_stage_has_no_root_no_shell_and_no_secret(self):
        stage = last_stage()
        self.assertIn(("USER", "65532:65532"), stage)
        self.assertEqual({word for word, _ in stage}, {"FROM", "LABEL", "COPY", "USER", "WORKDIR", "ENTRYPOINT"})
        self.assertEqual(stage[-1], ("ENTRYPOINT", '["/usr/local/bin/baton-host"]'))
        for word, rest in stage:
            if word == "COPY":
                self.assertIn("--from=build", rest)

    def test_what_was_written_here_stays_here(self):
        ignored = (tools.ROOT / ".containerignore").read_text().splitlines()
        for pattern in (".git", "target", "**/*.c1z", "**/baton.lock", "**/.env"):
            self.assertIn(pattern, ignored)
        self.assertEqual((tools.ROOT / ".dockerignore").read_text().splitlines(), ignored)

    def test_the_compiler_is_the_repository_s(self):
        toolchain = re.search(r'channel = "([^"]+)"', (tools.ROOT / "rust-toolchain.toml").read_text())[1]
        self.assertIn(f"rust:{toolchain}-", FILE.read_text())


class Build(unittest.TestCase):
    def test_the_build_command_makes_what_the_image_holds(self):
        command = next(rest for word, rest in instructions() if word == "RUN")
        script = command.split(" ")[-3]
        self.assertEqual(script, "deploy/container/build.sh")
        machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out"
            subprocess.run(
                [tools.ROOT / script, machine, out], check=True,
                env={**os.environ, "BATON_CARGO_PROFILE": "dev"}, stdout=subprocess.DEVNULL,
            )
            files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
            self.assertEqual(files, {
                "root/usr/local/bin/baton-host",
                "root/opt/baton-host/plugins/baton_eks.wasm",
                "root/usr/share/doc/baton-host/LICENSE",
            })
            # Every folder that a pod mounts is there, and what is written to is data.
            stateful = next(d for d in tools.template({"plugins": {"image": {"reference": "x"}}}) if d["kind"] == "StatefulSet")
            container = rules.WORKLOADS["StatefulSet"](stateful["spec"])["spec"]["containers"][0]
            for mount in container["volumeMounts"]:
                where = mount["mountPath"].lstrip("/")
                if where == "tmp":
                    continue
                self.assertTrue((out / ("root" if mount.get("readOnly") else "data") / where).is_dir(), where)
            program = out / "root/usr/local/bin/baton-host"
            self.assertEqual(stat.S_IMODE(program.stat().st_mode), 0o755)
            plugin = out / "root/opt/baton-host/plugins/baton_eks.wasm"
            said = subprocess.run(
                [program, "plugin", "inspect", plugin], check=True, capture_output=True, text=True, cwd=folder, env={},
            )
            self.assertIn("baton-eks", said.stdout)
            # The base has glibc and libgcc, nothing else.
            libraries = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
            names = set(re.findall(r"^\s*(?:\S*/)?((?:lib|ld-|linux-vdso)[^. ]*)", libraries, re.MULTILINE))
            self.assertLessEqual(names, {"linux-vdso", "libgcc_s", "libm", "libc", "libdl", "libpthread", "librt", "ld-linux-x86-64", "ld-linux-aarch64"})

    def test_it_says_what_it_takes(self):
        for arguments in ([], ["riscv64", "/tmp/never"], ["amd64", str(tools.ROOT)]):
            done = subprocess.run([tools.ROOT / "deploy/container/build.sh", *arguments], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)
