#!/usr/bin/python3
"""After a thousand reads the daemon's memory holds no value; after KMS's work, no plaintext."""

import base64
import os
import re
import secrets
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests/support"))
from daemon import Daemon, UnixConnection  # noqa: E402


def search(pid, *needles):
    """Mappings of the process in which one of `needles` is found."""
    found = []
    longest = max(len(needle) for needle in needles)
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(
        f"/proc/{pid}/mem", "rb", 0
    ) as memory:
        for line in maps:
            begin, end, mode, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line).groups()
            # The store's map is 64 GiB of ciphertext, most of it past the file's end.
            if "r" not in mode or name.endswith((".mdb", "[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            memory.seek(int(begin, 16))
            rest = int(end, 16) - int(begin, 16)
            tail = b""
            while rest > 0:
                try:
                    piece = memory.read(min(rest, 1 << 20))
                except OSError:
                    break
                if not piece:
                    break
                window = tail + piece
                if any(needle in window for needle in needles):
                    found.append(line.strip())
                    break
                tail = piece[-longest:]
                rest -= len(piece)
    return found


def swapped_of_locked(pid):
    """KiB in swap of the locked mappings; a busy machine may swap out the others."""
    total, swapped = 0, 0
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps:
        for line in smaps:
            field, _, value = line.partition(":")
            if field == "Swap":
                swapped = int(value.split()[0])
            elif field == "VmFlags" and "lo" in value.split():
                total += swapped
    return total


class MemoryTest(unittest.TestCase):
    def test_no_value_stays_behind(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.mount()
        plain = secrets.token_hex(24)
        key = secrets.token_hex(24)
        large = secrets.token_hex(32768)  # 64 KiB, the largest value.
        daemon.put("plain", plain)
        daemon.put("keyed", f'{{"password":"{key}"}}')
        daemon.put("large", large)
        for _ in range(500):
            self.assertEqual(daemon.read("plain/_value").decode(), plain)
            self.assertEqual(daemon.read("keyed/_keys/password").decode(), key)
        for _ in range(100):
            self.assertEqual(daemon.read("large/_value").decode(), large)
        for _ in range(20):
            daemon.run("get", "plain")
            daemon.run("get", "keyed", "-k", "password")
        pid = daemon.daemon_pid()
        # What is searched for can be found: a name that the daemon keeps is there.
        self.assertNotEqual(search(pid, daemon.mountpoint.encode()), [])
        for value in (plain, key, large[:48], large[30000:30048], large[-48:]):
            self.assertEqual(search(pid, value.encode()), [])
            # Not even a part of it that would do.
            self.assertEqual(search(pid, value[:20].encode()), [])
            self.assertEqual(search(daemon.keeper_pid, value[:20].encode()), [])
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        self.assertGreater(int(status["VmLck"].split()[0]), 0)
        self.assertEqual(swapped_of_locked(pid), 0)
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            core = next(line for line in file if line.startswith("Max core file size"))
        self.assertRegex(core, r"\b0 +0 +bytes")

    def test_nothing_that_kms_worked_on_stays_behind(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.mount()

        def call(operation, **members):
            # A connection each, since its memory is wiped when it ends.
            with UnixConnection(daemon.socket) as connection:
                status, body = daemon.call(f"TrentService.{operation}", connection, **members)
            self.assertEqual(status, 200, body)
            return body

        def create(**members):
            return call("CreateKey", **members)["KeyMetadata"]["KeyId"]

        key = create()
        mac_key = create(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        signing_key = create(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        hidden = []
        for _ in range(20):
            plaintext, message = secrets.token_bytes(48), secrets.token_bytes(48)
            in_base64 = {
                "Plaintext": base64.b64encode(plaintext).decode(),
                "Message": base64.b64encode(message).decode(),
            }
            blob = call("Encrypt", KeyId=key, Plaintext=in_base64["Plaintext"])["CiphertextBlob"]
            back = call("Decrypt", CiphertextBlob=blob)["Plaintext"]
            self.assertEqual(back, in_base64["Plaintext"])
            mac = call(
                "GenerateMac",
                KeyId=mac_key,
                Message=in_base64["Message"],
                MacAlgorithm="HMAC_SHA_256",
            )["Mac"]
            call(
                "Sign",
                KeyId=signing_key,
                Message=in_base64["Message"],
                SigningAlgorithm="ECDSA_SHA_256",
            )
            pair = call("GenerateDataKeyPair", KeyId=key, KeyPairSpec="ECC_NIST_P256")
            hidden += [
                *in_base64.values(),
                mac,
                pair["PrivateKeyPlaintext"],
                call("GenerateDataKey", KeyId=key, KeySpec="AES_256")["Plaintext"],
                call("GenerateRandom", NumberOfBytes=48)["Plaintext"],
            ]
        pid = daemon.daemon_pid()
        self.assertNotEqual(search(pid, daemon.mountpoint.encode()), [])
        # A PKCS#8 key begins like all others, and ends with its public key.
        texts = [each[56:84] if len(each) > 100 else each[:24] for each in hidden]
        self.assertEqual(search(pid, *[text.encode() for text in texts]), [])
        self.assertEqual(search(pid, *[base64.b64decode(text) for text in texts]), [])


if __name__ == "__main__":
    unittest.main(verbosity=1)
