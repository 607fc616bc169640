// secretfs key import: key material that was made elsewhere.

#include <CLI/CLI.hpp>
#include <memory>

#include "mount/cli_key.h"

namespace secretfs::mount {
namespace {

constexpr mode_t kPublicMode = 0644;
constexpr TimeMs kMsPerSecond = 1000;

struct ParametersOptions {
  std::string key;
  std::string algorithm = "RSAES_OAEP_SHA_256";
  std::string spec = "RSA_4096";
  std::string token_file;
  std::string public_key_file;
};

Status GetParameters(Cli& cli, const ParametersOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  TRY_ASSIGN(const AwsAnswer answer,
             client.Call(KmsRequest("GetParametersForImport")
                             .Text("KeyId", id)
                             .Text("WrappingAlgorithm", AwsWord(options.algorithm))
                             .Text("WrappingKeySpec", AwsWord(options.spec))));
  TRY_ASSIGN(const crypto::SecretBuffer token, ParseBlob(answer, "ImportToken"));
  TRY_ASSIGN(const crypto::SecretBuffer public_key, ParseBlob(answer, "PublicKey"));
  TRY_ASSIGN(const TimeMs valid_to, ParseTimeMember(answer, "ParametersValidTo"));
  TRY(WriteDataFile(options.token_file, token.Reveal(), false, kPublicMode));
  TRY(WriteDataFile(options.public_key_file, public_key.Reveal(), false, kPublicMode));
  return cli.Print(answer, FormatTime(valid_to) + "\n");
}

struct MaterialOptions {
  std::string key;
  std::string token_file;
  std::string description;
  std::string material_id;
  std::optional<int64_t> valid_days;
  bool is_new = false;
  DataOptions data;
};

Status ImportMaterial(Cli& cli, const MaterialOptions& options) {
  TRY_ASSIGN(const crypto::SecretBuffer token,
             ReadData(cli, {options.token_file, "the import token", kKmsBlobBytesMax}));
  TRY_ASSIGN(const crypto::SecretBuffer material,
             ReadData(cli, {options.data.file, "the encrypted key material", kKmsBlobBytesMax,
                            options.data.base64}));
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  KmsRequest request("ImportKeyMaterial");
  request.Text("KeyId", id)
      .Blob("ImportToken", token.Reveal())
      .Blob("EncryptedKeyMaterial", material.Reveal())
      .Text("ExpirationModel",
            options.valid_days ? "KEY_MATERIAL_EXPIRES" : "KEY_MATERIAL_DOES_NOT_EXPIRE")
      .Text("ImportType", options.is_new ? "NEW_KEY_MATERIAL" : "")
      .Text("KeyMaterialDescription", options.description)
      .Text("KeyMaterialId", options.material_id);
  if (options.valid_days) {
    const TimeMs now = SystemClock().NowMs();
    request.Number("ValidTo", (now + *options.valid_days * kMsPerDay) / kMsPerSecond);
  }
  TRY_ASSIGN(const AwsAnswer answer, client.Call(request));
  TRY_ASSIGN(const std::string material_id, ParseTextMember(answer, "KeyMaterialId"));
  if (options.is_new) {
    cli.Note("the key goes over to it with: secretfs key rotate " + options.key);
  }
  return cli.Print(answer, material_id + "\n");
}

struct DeleteOptions {
  std::string key;
  std::string material_id;
};

Status DeleteMaterial(Cli& cli, const DeleteOptions& options) {
  TRY_ASSIGN(const KmsClient client, cli.Kms());
  TRY_ASSIGN(const std::string id, client.WithoutAlias(KmsKeyReference(options.key)));
  TRY_ASSIGN(const AwsAnswer answer, client.Call(KmsRequest("DeleteImportedKeyMaterial")
                                                     .Text("KeyId", id)
                                                     .Text("KeyMaterialId", options.material_id)));
  cli.Note("nothing under the key can be read until the same material is imported again");
  return cli.Print(answer, "");
}

}  // namespace

void AddKeyImport(const KeyVerbs& verbs) {
  const KeyVerbs group =
      verbs.AddGroup({"import", "Key material of your own, for a key made with --external"});
  Cli& cli = verbs.cli();
  auto parameters = std::make_shared<ParametersOptions>();
  CLI::App& asking =
      group.Add({"parameters", "First: get the public key to wrap the material with, and a token",
                 "secretfs key import parameters own --token token --public-key wrap.der"},
                KeyOf(parameters), [&cli, parameters] { return GetParameters(cli, *parameters); });
  AddKeyArgument(asking, parameters->key);
  asking.add_option("--token", parameters->token_file, "Where the token goes")
      ->type_name("PATH")
      ->required();
  asking.add_option("--public-key", parameters->public_key_file, "Where the key goes, in DER")
      ->type_name("PATH")
      ->required();
  asking.add_option("--algorithm", parameters->algorithm,
                    "rsaes-oaep-sha-256 (default), rsaes-oaep-sha-1, rsa-aes-key-wrap-sha-256, "
                    "rsa-aes-key-wrap-sha-1");
  asking.add_option("--spec", parameters->spec, "rsa-4096 (default), rsa-3072 or rsa-2048");

  auto material = std::make_shared<MaterialOptions>();
  CLI::App& importing =
      group.Add({"material", "Then: import the wrapped material, and print its id",
                 "secretfs key import material own --token token < wrapped"},
                KeyOf(material), [&cli, material] { return ImportMaterial(cli, *material); });
  AddKeyArgument(importing, material->key);
  importing.add_option("--token", material->token_file, "The token")->type_name("PATH")->required();
  AddInputOptions(importing, material->data, "the wrapped material");
  importing.add_flag("--base64", material->data.base64, "The wrapped material is base64 text");
  importing
      .add_option("--valid-days", material->valid_days,
                  "Forget it after so many days (default: never)")
      ->type_name("DAYS");
  importing.add_flag("--new", material->is_new,
                     "Other material than before, for the next secretfs key rotate");
  importing.add_option("--description", material->description, "Of the material");
  importing.add_option("--material", material->material_id, "Only if it has this id")
      ->type_name("ID");

  auto doomed = std::make_shared<DeleteOptions>();
  CLI::App& deleting =
      group.Add({"delete", "Delete imported material; the key waits for it to come back"},
                KeyOf(doomed), [&cli, doomed] { return DeleteMaterial(cli, *doomed); });
  AddKeyArgument(deleting, doomed->key);
  deleting.add_option("--material", doomed->material_id, "Which (default: the current)")
      ->type_name("ID");
}

}  // namespace secretfs::mount
