#!/usr/bin/python3
"""The command line of KMS against a real daemon, cross-checked with the openssl command."""

import errno
import json
import os
import pty
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests/support"))
from daemon import NOBODY, Daemon  # noqa: E402


class KeyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon()
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.mount()

    def path(self, name):
        return os.path.join(self.daemon.root, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    def key(self, *arguments, **keywords):
        """The standard output of `secretfs key ARGUMENTS`."""
        return self.daemon.run("key", *arguments, **keywords)[0]

    def refused(self, code, *arguments, **keywords):
        """Its error, which must come with exit status `code`."""
        return self.daemon.run("key", *arguments, code=code, **keywords)[1]

    def create(self, *arguments):
        return self.key("create", *arguments).decode().strip()

    def openssl(self, *arguments, input=b"", code=0):
        done = subprocess.run(
            ["openssl", *arguments], input=input, capture_output=True, timeout=60, check=False
        )
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stdout

    def public_key(self, key):
        return self.write(key + ".pem", self.key("public-key", key))

    def test_signatures_verify_with_openssl(self):
        message = self.write("message", b"what is to be signed\n")
        cases = (
            ("ecc-nist-p256", "ecdsa-sha-256", ["-sha256"]),
            ("ecc-nist-p384", "ecdsa-sha-384", ["-sha384"]),
            ("ecc-nist-p521", "ecdsa-sha-512", ["-sha512"]),
            ("rsa-2048", "rsassa-pkcs1-v1-5-sha-256", ["-sha256"]),
            (
                "rsa-2048",
                "rsassa-pss-sha-512",
                ["-sha512", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:64"],
            ),
        )
        for number, (spec, algorithm, options) in enumerate(cases):
            with self.subTest(algorithm):
                key = self.create("--spec", spec, "--usage", "sign-verify")
                public = self.public_key(key)
                signature = self.write(
                    f"signature{number}",
                    self.key("sign", key, "--algorithm", algorithm, "--file", message),
                )
                verify = ["dgst", *options, "-verify", public, "-signature", signature]
                self.assertIn(b"Verified OK", self.openssl(*verify, message))
                arguments = ["verify", key, "--algorithm", algorithm, "--signature", signature]
                self.assertEqual(self.key(*arguments, "--file", message), b"valid\n")
                self.assertIn("verify", self.refused(1, *arguments, input="another message"))

    def test_ed25519_verifies_with_openssl(self):
        key = self.create("--spec", "ecc-nist-edwards25519")
        message = self.write("raw", b"Ed25519 takes the message itself")
        signature = self.key("sign", key, "--algorithm", "ed25519-sha-512", "--file", message)
        self.openssl(
            *("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", self.public_key(key)),
            *("-in", message, "-sigfile", self.write("ed-signature", signature)),
        )

    def test_what_openssl_encrypts_is_decrypted(self):
        key = self.create("--spec", "rsa-2048", "--usage", "encrypt-decrypt")
        oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"]
        ciphertext = self.openssl(
            *("pkeyutl", "-encrypt", "-pubin", "-inkey", self.public_key(key), *oaep),
            input=b"hunter2",
        )
        decrypt = ["decrypt", key, "--algorithm", "rsaes-oaep-sha-256"]
        self.assertEqual(self.key(*decrypt, input=ciphertext), b"hunter2")
        ours = self.key("encrypt", key, "--algorithm", "rsaes-oaep-sha-256", input="swordfish")
        self.assertEqual(self.key(*decrypt, input=ours), b"swordfish")

    def test_shared_secret_is_that_of_openssl(self):
        key = self.create("--spec", "ecc-nist-p256", "--usage", "key-agreement")
        theirs = self.path("theirs.pem")
        self.openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", theirs)
        public = self.write("theirs-public.pem", self.openssl("pkey", "-in", theirs, "-pubout"))
        wanted = self.openssl(
            "pkeyutl", "-derive", "-inkey", theirs, "-peerkey", self.public_key(key)
        )
        self.assertEqual(self.key("derive", key, "--public-key", public), wanted)

    def test_a_data_key_pair_is_one_for_openssl(self):
        key = self.create()
        encrypted, public = self.path("pair.enc"), self.path("pair.public")
        private = self.key(
            *("data-key", key, "--pair", "ecc-nist-p256"),
            *("--ciphertext", encrypted, "--public-key", public),
        )
        made = self.openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", input=private)
        with open(public, "rb") as file:
            self.assertEqual(made, file.read())
        self.assertEqual(self.key("decrypt", "--file", encrypted), private)

    def test_a_mac_is_that_of_an_imported_key(self):
        material = bytes(range(32))
        key = self.create("--spec", "hmac-256", "--external")
        self.import_material(key, material)
        mac = self.key("mac", key, input="the message")
        wanted = self.openssl(
            *("dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:" + material.hex(), "-binary"),
            input=b"the message",
        )
        self.assertEqual(mac, wanted)
        path = self.write("mac", mac)
        verify = ["verify-mac", key, "--mac", path]
        self.assertEqual(self.key(*verify, input="the message"), b"valid\n")
        self.refused(1, *verify, input="another message")

    def import_material(self, key, material, *options, code=0):
        token, public = self.path("token"), self.path("wrap.der")
        self.key(
            *("import", "parameters", key, "--token", token),
            *("--public-key", public, "--spec", "rsa-2048"),
        )
        wrapped = self.openssl(
            *("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public),
            *("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"),
            input=material,
        )
        return self.daemon.run(
            *("key", "import", "material", key, "--token", token, *options),
            input=wrapped,
            code=code,
        )

    def test_import(self):
        key = self.create("--external", "--alias", "own")
        self.assertIn("pending import", self.refused(6, "encrypt", "own", input="x"))
        material = os.urandom(32)
        self.import_material("own", material)
        ciphertext = self.key("encrypt", "own", input="hunter2")
        self.key("import", "delete", "own")
        self.refused(6, "decrypt", input=ciphertext)
        # Other material than before is not the key's.
        self.import_material(key, os.urandom(32), code=1)
        self.import_material(key, material)
        self.assertEqual(self.key("decrypt", input=ciphertext), b"hunter2")

    def test_a_disabled_key_makes_its_secrets_unreadable(self):
        self.create("--alias", "shop")
        self.daemon.put("shop/db", "hunter2", "--kms-key", "shop")
        self.assertIn("alias/shop", self.daemon.run("describe", "shop/db")[0].decode())
        self.key("disable", "shop")
        with self.assertRaises(OSError) as caught:
            self.daemon.read("shop/db", "_value")
        self.assertEqual(caught.exception.errno, errno.EKEYREVOKED)
        self.daemon.run("get", "shop/db", code=1)
        self.key("enable", "shop")
        self.assertEqual(self.daemon.read("shop/db", "_value"), b"hunter2")

    def test_deletion_of_a_key_that_secrets_are_under(self):
        self.create("--alias", "doomed")
        self.daemon.put("doomed/db", "hunter2", "--kms-key", "doomed")
        error = self.refused(6, "schedule-deletion", "doomed", "--days", "7")
        self.assertIn("doomed/db", error)
        self.assertIn("--yes", error)
        self.key("schedule-deletion", "doomed", "--days", "7", "--yes")
        with self.assertRaises(OSError) as caught:
            self.daemon.read("doomed/db", "_value")
        self.assertEqual(caught.exception.errno, errno.EKEYREVOKED)
        self.key("cancel-deletion", "doomed")
        self.key("enable", "doomed")
        self.create("--alias", "heir")
        self.daemon.run("update", "doomed/db", "--kms-key", "heir")
        self.key("schedule-deletion", "doomed", "--days", "7")
        self.assertEqual(self.daemon.read("doomed/db", "_value"), b"hunter2")

    def test_rotation_keeps_what_was_encrypted(self):
        key = self.create("--alias", "turning")
        self.daemon.put("turning/db", "hunter2", "--kms-key", "turning")
        before = self.key("encrypt", "turning", input="one")
        self.key("rotate", "turning")
        after = self.key("encrypt", "turning", input="two")
        self.assertEqual(self.key("decrypt", input=before), b"one")
        self.assertEqual(self.key("decrypt", input=after), b"two")
        self.assertEqual(self.daemon.read("turning/db", "_value"), b"hunter2")
        rotations = json.loads(self.key("rotate", key, "--history", "--json"))["Rotations"]
        self.assertEqual([r["KeyMaterialState"] for r in rotations], ["NON_CURRENT", "CURRENT"])

    def on_a_terminal(self, *arguments, input=b""):
        """Exit status and what a terminal shows of `secretfs key ARGUMENTS`."""
        ours, theirs = pty.openpty()
        try:
            done = subprocess.run(
                [self.daemon.binary, "key", *arguments],
                input=input,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                env=self.daemon.environment,
                timeout=60,
                check=False,
            )
            os.write(theirs, b"$")  # A terminal passes on what it gets piece by piece: the end.
            shown = b""
            while not shown.endswith(b"$"):
                shown += os.read(ours, 4096)
            return done.returncode, shown
        finally:
            os.close(ours)
            os.close(theirs)

    def test_raw_bytes_do_not_go_to_a_terminal(self):
        self.assertEqual(self.on_a_terminal("random", "8"), (2, b"$"))
        status, shown = self.on_a_terminal("random", "8", "--base64")
        self.assertEqual((status, len(shown)), (0, len("AAAAAAAAAAA=\r\n$")))
        key = self.create()
        text = self.key("encrypt", key, input="hunter2")
        self.assertEqual(self.on_a_terminal("decrypt", input=text), (0, b"hunter2$"))
        binary = self.key("encrypt", key, input=b"\x1b[2J")
        self.assertEqual(self.on_a_terminal("decrypt", input=binary), (2, b"$"))

    def test_another_user_may_do_nothing(self):
        key = self.create()
        for arguments in (["ls"], ["describe", key], ["encrypt", key], ["random", "8"]):
            self.refused(4, *arguments, input="x", uid=NOBODY)

    def test_everything_is_audited(self):
        key = self.create()
        self.key("encrypt", key, input="hunter2")
        event = [e for e in self.daemon.events() if e["eventName"] == "Encrypt"][-1]
        self.assertEqual(event["eventSource"], "kms.amazonaws.com")
        self.assertNotIn("hunter2", json.dumps(event))


class RekeyTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(secret=("prod/db", "hunter2"))
        self.addCleanup(self.daemon.close)
        self.environment = self.daemon.environment

    def path(self, name):
        return os.path.join(self.daemon.root, name)

    def rekey(self, root_key, **keywords):
        return self.daemon.run("rekey", "--root-key", root_key, **keywords)

    def assert_serves(self):
        self.assertEqual(self.daemon.read("prod/db", "_value"), b"hunter2")

    def kill_daemon(self):
        """The keeper starts another, which must open the store again."""
        os.kill(self.daemon.daemon_pid(), signal.SIGKILL)
        self.assert_serves()

    def test_to_another_file_and_back_to_a_mount(self):
        new = self.path("new-key")
        output, _ = self.rekey(f"file:{new}")
        self.assertIn(f"The old key file {self.daemon.key} is left in place", output.decode())
        self.kill_daemon()
        self.daemon.unmount()
        os.rename(new, new + ".away")
        self.daemon.run("mount", self.daemon.mountpoint, code=5)
        old = ["--root-key", f"file:{self.daemon.key}"]
        self.daemon.run("mount", *old, self.daemon.mountpoint, code=5)
        os.rename(new + ".away", new)
        self.daemon.mount()
        self.assert_serves()
        names = [event["eventName"] for event in self.daemon.events()]
        self.assertIn("RewrapKeys", names)

    def test_without_a_deposit_the_header_says_where_the_key_is(self):
        self.daemon.unmount()
        self.daemon.mount("--reprompt", "--root-key", f"file:{self.daemon.key}")
        self.rekey(f"file:{self.path('new-key')}")
        self.kill_daemon()

    def test_to_a_passphrase_and_on(self):
        self.rekey("passphrase", input="correct horse\n")
        self.kill_daemon()
        self.daemon.unmount()
        self.daemon.run("mount", self.daemon.mountpoint, input="wrong\n", code=5)
        # Without a daemon: the current passphrase, then the new one.
        self.rekey("passphrase", input="wrong\nbattery staple\n", code=5)
        self.rekey("passphrase", input="correct horse\nbattery staple\n")
        self.daemon.run("mount", self.daemon.mountpoint, input="battery staple\n")
        self.daemon.keeper_pid = self.daemon.status()["keeper_pid"]
        self.assert_serves()

    def test_to_a_credential(self):
        credentials = self.path("credentials")
        os.mkdir(credentials)
        with open(os.path.join(credentials, "next"), "wb") as file:
            file.write(os.urandom(40))
        os.chmod(file.name, 0o400)
        self.assertIn("CREDENTIALS_DIRECTORY", self.rekey("credential:next", code=3)[1])
        self.environment["CREDENTIALS_DIRECTORY"] = credentials
        self.rekey("credential:next")
        self.daemon.unmount()
        self.daemon.mount()
        self.assert_serves()

    def test_what_the_daemon_could_not_read_is_refused(self):
        stranger = self.path("stranger")
        self.daemon.run("init", "--store", self.path("other"), "--root-key", f"file:{stranger}")
        os.chmod(stranger, 0o644)
        self.assertIn("chmod 600", self.rekey(f"file:{stranger}", code=4)[1])
        os.chmod(stranger, 0o400)
        os.chown(stranger, NOBODY, NOBODY)
        self.assertIn("chown 0", self.rekey(f"file:{stranger}", code=4)[1])
        self.rekey("telepathy", code=2)
        self.kill_daemon()
        self.daemon.unmount()
        self.daemon.mount()
        self.assert_serves()

    def test_only_the_owner_may(self):
        made = self.path("theirs/key")
        os.mkdir(os.path.dirname(made))
        os.chown(os.path.dirname(made), NOBODY, NOBODY)
        self.rekey(f"file:{made}", uid=NOBODY, code=4)
        self.assertEqual(os.listdir(os.path.dirname(made)), [])
        self.rekey("passphrase", input="theirs\n", uid=NOBODY, code=4)
        self.kill_daemon()

    def test_the_owner_of_a_store_who_is_not_root(self):
        mine = Daemon(user=NOBODY, secret=("prod/db", "hunter2"))
        self.addCleanup(mine.close)
        new = os.path.join(mine.root, "new-key")
        mine.run("rekey", "--root-key", f"file:{new}")
        os.kill(mine.daemon_pid(), signal.SIGKILL)
        mine.unmount()
        mine.mount()
        self.assertEqual(mine.run("get", "prod/db")[0], b"hunter2")


if __name__ == "__main__":
    unittest.main(verbosity=1)
