"""AWS's own client for Python against KMS, and the openssl command as the other side."""

import base64
import errno
import hashlib
import hmac
import os
import subprocess
import sys
import unittest
from datetime import datetime, timedelta, timezone

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

# Nothing of the machine's own set-up, and no proxy between the client and the bridge.
os.environ.update(
    AWS_CONFIG_FILE="/dev/null",
    AWS_SHARED_CREDENTIALS_FILE="/dev/null",
    AWS_EC2_METADATA_DISABLED="true",
    NO_PROXY="127.0.0.1",
    no_proxy="127.0.0.1",
)

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from daemon import Daemon, UnixConnection, token
from tcp_bridge import TcpBridge

CONTEXT = {"purpose": "test", "empty": "", "umlaut": "\u00e4"}
PREFIX = "arn:aws:kms:local-1:000000000000:"


def b64(data):
    return base64.b64encode(data).decode()


class KmsClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon()
        cls.addClassCleanup(cls.d.close)
        cls.d.mount()
        bridge = TcpBridge(cls.d.socket)
        cls.addClassCleanup(bridge.close)
        session = boto3.session.Session(
            aws_access_key_id="any", aws_secret_access_key="any", region_name="local-1"
        )

        def client(service):
            return session.client(
                service,
                endpoint_url=f"http://127.0.0.1:{bridge.port}",
                # A failure is to be seen, not to be tried again.
                config=Config(retries={"max_attempts": 0}, read_timeout=60),
            )

        cls.kms = client("kms")
        cls.secrets = client("secretsmanager")

    def create(self, **members):
        return self.kms.create_key(**members)["KeyMetadata"]

    def refused(self, name, call, **members):
        """The message of the error, which must have this name."""
        with self.assertRaises(ClientError) as caught:
            call(**members)
        self.assertEqual(caught.exception.response["Error"]["Code"], name)
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)
        return caught.exception.response["Error"]["Message"]

    def raw(self, operation, **members):
        """What this client does not know yet, by hand. Blobs are base64."""
        with UnixConnection(self.d.socket) as connection:
            status, body = self.d.call(f"TrentService.{operation}", connection, **members)
        self.assertEqual(status, 200, body)
        return body

    def file(self, name, data):
        path = os.path.join(self.d.root, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def openssl(self, *arguments, input=b""):
        done = subprocess.run(
            ["openssl", *arguments], input=input, capture_output=True, timeout=60, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def public_key(self, key):
        return self.file("public.der", self.kms.get_public_key(KeyId=key["KeyId"])["PublicKey"])

    def new_pkcs8(self, *options):
        pem = self.openssl("genpkey", *options)
        return self.openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", input=pem)

    def oaep(self, public, data):
        return self.openssl(
            *("pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public),
            *("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"),
            *("-pkeyopt", "rsa_mgf1_md:sha256"),
            input=data,
        )

    def import_material(self, key, material, **members):
        parameters = self.kms.get_parameters_for_import(
            KeyId=key["KeyId"],
            WrappingAlgorithm="RSAES_OAEP_SHA_256",
            WrappingKeySpec="RSA_2048",
        )
        self.assertGreater(parameters["ParametersValidTo"], datetime.now(timezone.utc))
        if not members:
            members = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
        wrapping_key = self.file("wrapping.der", parameters["PublicKey"])
        return self.kms.import_key_material(
            KeyId=key["KeyId"],
            ImportToken=parameters["ImportToken"],
            EncryptedKeyMaterial=self.oaep(wrapping_key, material),
            **members,
        )

    # --- keys

    def test_life_of_a_key(self):
        key = self.create(Description="d", Tags=[{"TagKey": "k", "TagValue": "v"}])
        self.assertEqual(key["Arn"], f"{PREFIX}key/{key['KeyId']}")
        self.assertIsInstance(key["CreationDate"], datetime)
        self.kms.create_alias(AliasName="alias/life", TargetKeyId=key["KeyId"])
        for name in ("KeyId", "Arn"):
            self.assertEqual(self.kms.describe_key(KeyId=key[name])["KeyMetadata"], key)
        for name in ("alias/life", f"{PREFIX}alias/life"):
            self.assertEqual(self.kms.describe_key(KeyId=name)["KeyMetadata"], key)
        tags = self.kms.list_resource_tags(KeyId=key["KeyId"])
        self.assertEqual(tags["Tags"], [{"TagKey": "k", "TagValue": "v"}])

        pages = self.kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1})
        self.assertIn(
            {"KeyId": key["KeyId"], "KeyArn": key["Arn"]},
            [each for page in pages for each in page["Keys"]],
        )
        pages = self.kms.get_paginator("list_aliases").paginate(PaginationConfig={"PageSize": 1})
        aliases = {each["AliasName"]: each for page in pages for each in page["Aliases"]}
        self.assertEqual(aliases["alias/life"]["TargetKeyId"], key["KeyId"])
        self.assertIn("alias/aws/secretsmanager", aliases)

        self.kms.disable_key(KeyId=key["KeyId"])
        with self.assertRaises(self.kms.exceptions.DisabledException):
            self.kms.encrypt(KeyId="alias/life", Plaintext=b"x")
        self.kms.enable_key(KeyId=key["KeyId"])
        scheduled = self.kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
        self.assertEqual(scheduled["KeyState"], "PendingDeletion")
        left = scheduled["DeletionDate"] - datetime.now(timezone.utc)
        self.assertLess(abs(left - timedelta(days=7)), timedelta(minutes=10))
        with self.assertRaises(self.kms.exceptions.KMSInvalidStateException):
            self.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
        self.assertEqual(self.kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"], key["Arn"])
        self.assertEqual(
            self.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"], "Disabled"
        )
        self.kms.delete_alias(AliasName="alias/life")
        self.refused("NotFoundException", self.kms.describe_key, KeyId="alias/life")

    def test_a_policy_comes_back_as_it_was_put(self):
        key = self.create()
        policy = self.kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
        policy = policy.replace("key-default-1", "mine")
        self.kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=policy)
        back = self.kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")
        self.assertEqual(back["Policy"], policy)
        self.assertEqual(
            self.kms.list_key_policies(KeyId=key["KeyId"])["PolicyNames"], ["default"]
        )

    def test_what_one_host_does_not_have(self):
        self.refused(
            "UnsupportedOperationException",
            self.kms.create_custom_key_store,
            CustomKeyStoreName="x",
        )
        key = self.create()
        self.refused(
            "UnsupportedOperationException",
            self.kms.replicate_key,
            KeyId=key["KeyId"],
            ReplicaRegion="local-2",
        )
        self.refused("UnsupportedOperationException", self.kms.create_key, MultiRegion=True)

    # --- cryptographic operations

    def test_encryption_with_context(self):
        key = self.create()
        plaintext = os.urandom(4096)
        encrypted = self.kms.encrypt(
            KeyId=key["Arn"], Plaintext=plaintext, EncryptionContext=CONTEXT
        )
        self.assertEqual(encrypted["KeyId"], key["Arn"])
        blob = encrypted["CiphertextBlob"]
        backwards = dict(reversed(CONTEXT.items()))
        decrypted = self.kms.decrypt(CiphertextBlob=blob, EncryptionContext=backwards)
        self.assertEqual(decrypted["Plaintext"], plaintext)
        self.assertEqual(decrypted["KeyId"], key["Arn"])
        with self.assertRaises(self.kms.exceptions.InvalidCiphertextException):
            self.kms.decrypt(CiphertextBlob=blob)
        with self.assertRaises(self.kms.exceptions.IncorrectKeyException):
            self.kms.decrypt(
                CiphertextBlob=blob, EncryptionContext=CONTEXT, KeyId=self.create()["KeyId"]
            )
        self.refused(
            "ValidationException", self.kms.encrypt, KeyId=key["Arn"], Plaintext=bytes(4097)
        )

        other = self.create()
        moved = self.kms.re_encrypt(
            CiphertextBlob=blob,
            SourceEncryptionContext=CONTEXT,
            DestinationKeyId=other["KeyId"],
            DestinationEncryptionContext={"now": "this"},
        )
        self.assertEqual((moved["SourceKeyId"], moved["KeyId"]), (key["Arn"], other["Arn"]))
        self.kms.disable_key(KeyId=key["KeyId"])
        decrypted = self.kms.decrypt(
            CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"now": "this"}
        )
        self.assertEqual(decrypted["Plaintext"], plaintext)

    def test_data_keys_and_random_bytes(self):
        key = self.create()
        made = self.kms.generate_data_key(
            KeyId=key["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT
        )
        self.assertEqual(len(made["Plaintext"]), 32)
        again = self.kms.decrypt(
            CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT
        )
        self.assertEqual(again["Plaintext"], made["Plaintext"])
        hidden = self.kms.generate_data_key_without_plaintext(
            KeyId=key["KeyId"], NumberOfBytes=1024
        )
        self.assertNotIn("Plaintext", hidden)
        again = self.kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])
        self.assertEqual(len(again["Plaintext"]), 1024)

        pair = self.kms.generate_data_key_pair(KeyId=key["KeyId"], KeyPairSpec="ECC_NIST_P384")
        public = self.openssl(
            *("pkey", "-inform", "DER", "-pubout", "-outform", "DER"),
            input=pair["PrivateKeyPlaintext"],
        )
        self.assertEqual(public, pair["PublicKey"])
        hidden = self.kms.generate_data_key_pair_without_plaintext(
            KeyId=key["KeyId"], KeyPairSpec="ECC_NIST_P256"
        )
        private = self.kms.decrypt(CiphertextBlob=hidden["PrivateKeyCiphertextBlob"])
        public = self.openssl(
            *("pkey", "-inform", "DER", "-pubout", "-outform", "DER"), input=private["Plaintext"]
        )
        self.assertEqual(public, hidden["PublicKey"])
        self.assertEqual(len(self.kms.generate_random(NumberOfBytes=64)["Plaintext"]), 64)

    def test_rsa_with_openssl(self):
        key = self.create(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
        blob = self.oaep(self.public_key(key), b"hunter2")
        decrypted = self.kms.decrypt(
            KeyId=key["KeyId"], CiphertextBlob=blob, EncryptionAlgorithm="RSAES_OAEP_SHA_256"
        )
        self.assertEqual(decrypted["Plaintext"], b"hunter2")

        key = self.create(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
        public, message = self.public_key(key), b"m" * 4096
        pss = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
        for padding, options in (("PSS", pss), ("PKCS1_V1_5", ())):
            for digest in ("256", "384", "512"):
                name = f"RSASSA_{padding}_SHA_{digest}"
                with self.subTest(name):
                    made = self.kms.sign(
                        KeyId=key["KeyId"], Message=message, SigningAlgorithm=name
                    )
                    signature = self.file("signature", made["Signature"])
                    self.openssl(
                        *("dgst", f"-sha{digest}", "-keyform", "DER", "-verify", public),
                        *("-signature", signature, *options),
                        input=message,
                    )
                    verified = self.kms.verify(
                        KeyId=key["KeyId"],
                        Message=hashlib.new(f"sha{digest}", message).digest(),
                        MessageType="DIGEST",
                        Signature=made["Signature"],
                        SigningAlgorithm=name,
                    )
                    self.assertTrue(verified["SignatureValid"])
        with self.assertRaises(self.kms.exceptions.KMSInvalidSignatureException):
            self.kms.verify(
                KeyId=key["KeyId"],
                Message=b"another",
                Signature=made["Signature"],
                SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_512",
            )

    def test_ecc_with_openssl_both_ways(self):
        for spec, curve, digest in (
            ("ECC_NIST_P256", "P-256", "256"),
            ("ECC_NIST_P384", "P-384", "384"),
            ("ECC_SECG_P256K1", "secp256k1", "256"),
        ):
            with self.subTest(spec):
                key = self.create(KeySpec=spec, KeyUsage="SIGN_VERIFY", Origin="EXTERNAL")
                pkcs8 = self.new_pkcs8(
                    "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"
                )
                self.import_material(key, pkcs8)
                name = f"ECDSA_SHA_{digest}"
                made = self.kms.sign(KeyId=key["KeyId"], Message=b"m", SigningAlgorithm=name)
                signature = self.file("signature", made["Signature"])
                self.openssl(
                    *("dgst", f"-sha{digest}", "-keyform", "DER"),
                    *("-verify", self.public_key(key), "-signature", signature),
                    input=b"m",
                )
                private = self.file("private.der", pkcs8)
                theirs = self.openssl(
                    *("dgst", f"-sha{digest}", "-keyform", "DER", "-sign", private), input=b"m"
                )
                self.kms.verify(
                    KeyId=key["KeyId"], Message=b"m", Signature=theirs, SigningAlgorithm=name
                )

    def test_macs(self):
        material = os.urandom(32)
        key = self.create(
            KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC", Origin="EXTERNAL"
        )
        self.import_material(key, material)
        made = self.kms.generate_mac(
            KeyId=key["KeyId"], Message=b"m", MacAlgorithm="HMAC_SHA_256"
        )
        self.assertEqual(made["Mac"], hmac.new(material, b"m", "sha256").digest())
        verified = self.kms.verify_mac(
            KeyId=key["KeyId"], Message=b"m", MacAlgorithm="HMAC_SHA_256", Mac=made["Mac"]
        )
        self.assertTrue(verified["MacValid"])
        with self.assertRaises(self.kms.exceptions.KMSInvalidMacException):
            self.kms.verify_mac(
                KeyId=key["KeyId"], Message=b"n", MacAlgorithm="HMAC_SHA_256", Mac=made["Mac"]
            )

    def test_a_shared_secret_is_that_of_openssl(self):
        ours = self.create(KeySpec="ECC_NIST_P384", KeyUsage="KEY_AGREEMENT")
        pkcs8 = self.new_pkcs8("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
        theirs = self.file("theirs.der", pkcs8)
        their_public = self.openssl(
            *("pkey", "-inform", "DER", "-in", theirs, "-pubout", "-outform", "DER")
        )
        derived = self.raw(
            "DeriveSharedSecret",
            KeyId=ours["KeyId"],
            KeyAgreementAlgorithm="ECDH",
            PublicKey=b64(their_public),
        )
        expected = self.openssl(
            *("pkeyutl", "-derive", "-keyform", "DER", "-inkey", theirs),
            *("-peerform", "DER", "-peerkey", self.public_key(ours)),
        )
        self.assertEqual(base64.b64decode(derived["SharedSecret"]), expected)
        self.assertEqual(derived["KeyOrigin"], "AWS_KMS")

    # --- material

    def test_imported_material_comes_and_goes(self):
        key = self.create(Origin="EXTERNAL")
        self.assertEqual(key["KeyState"], "PendingImport")
        with self.assertRaises(self.kms.exceptions.KMSInvalidStateException):
            self.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
        material = os.urandom(32)
        end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
        self.import_material(
            key, material, ValidTo=end, ExpirationModel="KEY_MATERIAL_EXPIRES"
        )
        described = self.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual(described["KeyState"], "Enabled")
        self.assertEqual(described["ValidTo"], end)
        self.assertEqual(described["ExpirationModel"], "KEY_MATERIAL_EXPIRES")
        blob = self.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
        self.kms.delete_imported_key_material(KeyId=key["KeyId"])
        with self.assertRaises(self.kms.exceptions.KMSInvalidStateException):
            self.kms.decrypt(CiphertextBlob=blob)
        with self.assertRaises(self.kms.exceptions.IncorrectKeyMaterialException):
            self.import_material(key, os.urandom(32))
        self.import_material(key, material)
        self.assertEqual(self.kms.decrypt(CiphertextBlob=blob)["Plaintext"], b"x")
        described = self.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual(described["ExpirationModel"], "KEY_MATERIAL_DOES_NOT_EXPIRE")

    def test_rotation_keeps_old_ciphertexts_readable(self):
        key = self.create()
        blob = self.kms.encrypt(KeyId=key["KeyId"], Plaintext=b"old")["CiphertextBlob"]
        self.kms.enable_key_rotation(KeyId=key["KeyId"])
        self.assertTrue(
            self.kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
        )
        self.kms.disable_key_rotation(KeyId=key["KeyId"])
        self.assertEqual(self.raw("RotateKeyOnDemand", KeyId=key["KeyId"]), {"KeyId": key["Arn"]})
        (rotation,) = self.raw("ListKeyRotations", KeyId=key["KeyId"])["Rotations"]
        self.assertEqual(rotation["RotationType"], "ON_DEMAND")
        described = self.raw("DescribeKey", KeyId=key["KeyId"])["KeyMetadata"]
        self.assertEqual(described["CurrentKeyMaterialId"], rotation["KeyMaterialId"])
        self.assertEqual(self.kms.decrypt(CiphertextBlob=blob)["Plaintext"], b"old")
        used = self.raw("GetKeyLastUsage", KeyId=key["KeyId"])
        self.assertEqual(used["KeyLastUsage"]["Operation"], "Decrypt")

    # --- grants, secrets

    def test_grants(self):
        key = self.create()
        grantee = "arn:aws:iam::000000000000:user/nobody"
        grant = {
            "KeyId": key["KeyId"],
            "GranteePrincipal": grantee,
            "RetiringPrincipal": "arn:aws:iam::000000000000:root",
            "Operations": ["Encrypt"],
            "Constraints": {"EncryptionContextEquals": CONTEXT},
            "Name": "mine",
        }
        made = self.kms.create_grant(**grant)
        self.assertEqual(self.kms.create_grant(**grant)["GrantId"], made["GrantId"])
        (listed,) = self.kms.list_grants(KeyId=key["KeyId"])["Grants"]
        for name, value in grant.items():
            self.assertEqual(listed[name], key["Arn"] if name == "KeyId" else value)
        retirable = self.kms.list_retirable_grants(
            RetiringPrincipal="arn:aws:iam::000000000000:root"
        )
        self.assertEqual(retirable["Grants"], [listed])
        self.kms.retire_grant(GrantToken=made["GrantToken"])
        made = self.kms.create_grant(**grant)
        self.kms.revoke_grant(KeyId=key["KeyId"], GrantId=made["GrantId"])
        self.assertEqual(self.kms.list_grants(KeyId=key["KeyId"])["Grants"], [])
        with self.assertRaises(self.kms.exceptions.InvalidGrantTokenException):
            self.kms.retire_grant(GrantToken="nonsense")

    def test_a_key_governs_its_secrets(self):
        key = self.create()
        self.secrets.create_secret(
            Name="governed",
            SecretString="hunter2",
            KmsKeyId=key["KeyId"],
            ClientRequestToken=token(),
        )
        self.assertEqual(
            self.secrets.describe_secret(SecretId="governed")["KmsKeyId"], key["KeyId"]
        )
        self.assertEqual(self.d.read("governed", "_value"), b"hunter2")
        self.kms.disable_key(KeyId=key["KeyId"])
        self.refused(
            "DecryptionFailure", self.secrets.get_secret_value, SecretId="governed"
        )
        with self.assertRaises(OSError) as caught:
            self.d.read("governed", "_value")
        self.assertEqual(caught.exception.errno, errno.EKEYREVOKED)
        self.kms.enable_key(KeyId=key["KeyId"])
        self.assertEqual(self.d.read("governed", "_value"), b"hunter2")
        message = self.refused(
            "ConflictException", self.kms.schedule_key_deletion, KeyId=key["KeyId"]
        )
        self.assertIn("governed", message)
        self.secrets.update_secret(SecretId="governed", KmsKeyId="alias/aws/secretsmanager")
        self.assertNotIn("KmsKeyId", self.secrets.describe_secret(SecretId="governed"))
        self.kms.schedule_key_deletion(KeyId=key["KeyId"])
        value = self.secrets.get_secret_value(SecretId="governed")
        self.assertEqual(value["SecretString"], "hunter2")


if __name__ == "__main__":
    unittest.main(verbosity=1)
