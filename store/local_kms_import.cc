// Keys whose material comes from outside.

#include <algorithm>

#include "crypto/key_import.h"
#include "store/local_kms.h"

namespace secretfs::store {
namespace {

constexpr std::string_view kTokenPurpose = "import";
constexpr std::string_view kMaterialIdPurpose = "imported key material";
constexpr size_t kMaterialDescriptionBytesMax = 256;

// What an import token holds: the private key that unwraps the material, for a day.
struct ImportToken {
  crypto::KeyId key{};
  crypto::WrappingAlgorithm algorithm = crypto::WrappingAlgorithm::kRsaesOaepSha256;
  crypto::WrappingKeySpec spec = crypto::WrappingKeySpec::kRsa2048;
  TimeMs valid_to = 0;
  crypto::SecretBuffer pkcs8;
};

crypto::SecretBuffer EncodeToken(const ImportToken& token) {
  crypto::SecretBuffer encoded =
      crypto::SecretBuffer::CopyOf(ByteWriter()
                                       .Raw(token.key)
                                       .U8(static_cast<uint8_t>(token.algorithm))
                                       .U8(static_cast<uint8_t>(token.spec))
                                       .U64(static_cast<uint64_t>(token.valid_to))
                                       .bytes());
  encoded.Append(token.pkcs8.Reveal());
  return encoded;
}

std::optional<ImportToken> DecodeToken(const crypto::SecretBuffer& encoded) {
  ByteReader in(encoded.Reveal());
  ImportToken token;
  std::ranges::copy(in.Raw(token.key.size()), token.key.begin());
  const auto algorithm = crypto::FromNumber<crypto::WrappingAlgorithm>(in.U8());
  const auto spec = crypto::FromNumber<crypto::WrappingKeySpec>(in.U8());
  token.valid_to = static_cast<TimeMs>(in.U64());
  token.pkcs8 = crypto::SecretBuffer::CopyOf(in.Raw(in.remaining()));
  if (!in.Complete() || !algorithm || !spec) return std::nullopt;
  token.algorithm = *algorithm;
  token.spec = *spec;
  return token;
}

bool IsDescriptionCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view(":/_ \t\n\r.-").find(c) != std::string_view::npos;
}

Status ValidateImport(const ImportKeyMaterialRequest& request, TimeMs now) {
  if (request.expires && !request.valid_to) {
    return Fail(Code::kValidation,
                "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES");
  }
  if (!request.expires && request.valid_to) {
    return Fail(Code::kValidation,
                "A validTo date must not be set if the ExpirationModel is "
                "KEY_MATERIAL_DOES_NOT_EXPIRE");
  }
  if (request.valid_to &&
      (*request.valid_to <= now || *request.valid_to > now + kImportValidityDaysMax * kMsPerDay)) {
    return Fail(Code::kValidation, "The validTo date must be within the next 365 days.");
  }
  const std::string& description = request.key_material_description;
  if (description.size() > kMaterialDescriptionBytesMax ||
      !std::ranges::all_of(description, IsDescriptionCharacter)) {
    return Fail(Code::kValidation,
                "1 validation error detected: Value at 'keyMaterialDescription' failed to satisfy "
                "constraint: Member must satisfy regular expression pattern: "
                "^[a-zA-Z0-9:/_\\s.-]+$ and have at most 256 characters");
  }
  return {};
}

std::unexpected<Error> WrongMaterial(const std::string& arn) {
  return Fail(Code::kIncorrectKeyMaterial,
              "The key material is not the one that was imported into " + arn + " before.");
}

// Where material with this id goes in `key`, which is not there yet. Errors: as ImportKeyMaterial.
Status CheckNewMaterial(const KmsKey& key, const ImportKeyMaterialRequest& request,
                        const crypto::MaterialId& id) {
  if (key.materials.empty()) return {};
  if (request.import_type != ImportType::kNewKeyMaterial || !key.symmetric()) {
    return WrongMaterial(key.arn);
  }
  if (const KeyMaterial* pending = key.PendingRotation()) {
    return Fail(Code::kFailedPrecondition,
                "New key material (id: " + ToHex(id) + ") cannot be imported into KMS key " +
                    key.arn + ", because another key material (id: " + ToHex(pending->id) +
                    ") is pending rotation.");
  }
  return {};
}

}  // namespace

Result<ParametersForImport> LocalKms::GetParametersForImport(
    const Caller& caller, const ParametersForImportRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsGetParametersForImport, request.key_id,
                                    request.request_id);
  return AuditedRead(event, [&]() -> Result<ParametersForImport> {
    TRY_ASSIGN(KmsKeyPtr key, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckState(*key, event.action));
    if (!crypto::IsSupported(request.wrapping.algorithm) ||
        !crypto::IsSupported(request.wrapping.key_spec) ||
        !crypto::CanImport(key->spec, request.wrapping)) {
      return Fail(Code::kUnsupported,
                  "Key material for " + std::string(crypto::NameOf(key->spec)) +
                      " cannot be imported with " +
                      std::string(crypto::NameOf(request.wrapping.algorithm)) + " under " +
                      std::string(crypto::NameOf(request.wrapping.key_spec)) + ".");
    }
    TRY_ASSIGN(const crypto::WrappingKey wrapping_key,
               crypto::WrappingKey::Generate(request.wrapping.key_spec));
    const ImportToken token{key->id, request.wrapping.algorithm, request.wrapping.key_spec,
                            Now() + kMsPerDay, wrapping_key.ToPkcs8()};
    ParametersForImport answer;
    answer.key_id = key->arn;
    answer.import_token = records_.SealToken(kTokenPurpose, EncodeToken(token).Reveal());
    answer.public_key = wrapping_key.PublicKeyDer();
    answer.valid_to = token.valid_to;
    return answer;
  });
}

Result<LocalKms::NewGeneration> LocalKms::UnwrapImport(
    const KmsKey& key, const ImportKeyMaterialRequest& request) const {
  const auto invalid = [] {
    return Fail(Code::kInvalidImportToken, "The import token does not belong to this key.");
  };
  const auto opened = records_.OpenToken(kTokenPurpose, request.import_token);
  if (!opened) return invalid();
  const auto token = DecodeToken(*opened);
  if (!token || token->key != key.id) return invalid();
  if (Now() >= token->valid_to) {
    return Fail(Code::kExpiredImportToken, "The import token has expired; get new parameters.");
  }
  TRY_ASSIGN(const crypto::WrappingKey wrapping_key,
             crypto::WrappingKey::FromOwnPkcs8(token->spec, token->pkcs8));
  const auto material =
      wrapping_key.Unwrap({key.spec, token->algorithm}, request.encrypted_key_material);
  if (!material) {
    if (material.error().code != Code::kCorrupt) return std::unexpected(material.error());
    return Fail(Code::kInvalidCiphertext, "");  // AWS says no more.
  }
  // The id tells whether the same material comes again, and nothing else.
  crypto::SecretBuffer named = crypto::SecretBuffer::CopyOf(key.id);
  named.Append(material->Reveal());
  const crypto::MaterialId id = records_.KeyedHash(kMaterialIdPurpose, named.Reveal());
  TRY_ASSIGN(NewGeneration made, Wrap(key.id, id, *material));
  made.material.valid_to = request.valid_to;
  made.material.description = request.key_material_description;
  if (crypto::IsAsymmetric(key.spec)) {
    TRY_ASSIGN(const crypto::AsymmetricKey pair,
               crypto::AsymmetricKey::FromOwnPkcs8(key.spec, *material));
    made.public_key = pair.PublicKeyDer();
  }
  return made;
}

Result<ImportedKeyMaterial> LocalKms::ImportKeyMaterial(const Caller& caller,
                                                        const ImportKeyMaterialRequest& request) {
  AuditEvent event =
      door_.NewEvent(caller, Action::kKmsImportKeyMaterial, request.key_id, request.request_id);
  return Audited(event, [&]() -> Result<ImportedKeyMaterial> {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    TRY(CheckState(*seen, event.action));
    TRY(ValidateImport(request, Now()));
    TRY_ASSIGN(NewGeneration made, UnwrapImport(*seen, request));
    const std::string id = ToHex(made.material.id);
    if (!request.key_material_id.empty() && request.key_material_id != id) {
      return WrongMaterial(seen->arn);
    }
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      TRY(CheckRoot(made));
      if (KeyMaterial* known = key.FindMaterial(made.material.id)) {
        known->wrapped = made.material.wrapped;
        known->valid_to = made.material.valid_to;
        if (!made.material.description.empty()) known->description = made.material.description;
      } else {
        TRY(CheckNewMaterial(key, request, made.material.id));
        made.material.state =
            key.materials.empty() ? MaterialState::kCurrent : MaterialState::kPendingRotation;
        key.materials.push_back(made.material);
      }
      key.public_key = made.public_key;
      const bool waits = key.state == KeyState::kPendingImport;
      if (waits && key.HasAllMaterial()) key.state = KeyState::kEnabled;
      return true;
    };
    TRY(EditKey(*seen, event, edit));
    return ImportedKeyMaterial{seen->arn, id};
  });
}

Result<ImportedKeyMaterial> LocalKms::DeleteImportedKeyMaterial(
    const Caller& caller, const DeleteImportedKeyMaterialRequest& request) {
  AuditEvent event = door_.NewEvent(caller, Action::kKmsDeleteImportedKeyMaterial, request.key_id,
                                    request.request_id);
  return Audited(event, [&]() -> Result<ImportedKeyMaterial> {
    TRY_ASSIGN(KmsKeyPtr seen, Find(caller, request.key_id, Names::kIdOrArn, event));
    std::optional<crypto::MaterialId> wanted;
    if (!request.key_material_id.empty()) {
      wanted = ParseMaterialId(request.key_material_id);
      if (!wanted) {
        return Fail(Code::kValidation,
                    "1 validation error detected: Value at 'keyMaterialId' failed to satisfy "
                    "constraint: Member must satisfy regular expression pattern: ^[a-f0-9]+$");
      }
    }
    ImportedKeyMaterial answer{seen->arn, request.key_material_id};
    const auto edit = [&](KmsKey& key) -> Result<bool> {
      TRY(CheckState(key, event.action));
      if (!wanted && key.Current() != nullptr) wanted = key.Current()->id;
      KeyMaterial* material = wanted ? key.FindMaterial(*wanted) : nullptr;
      if (material == nullptr) return false;
      answer.key_material_id = ToHex(material->id);
      if (material->state == MaterialState::kPendingRotation) {
        std::erase_if(key.materials, [&](const KeyMaterial& each) { return each.id == *wanted; });
        return true;
      }
      if (material->wrapped.empty()) return false;
      material->wrapped.clear();
      material->valid_to.reset();
      if (key.state != KeyState::kPendingDeletion) key.state = KeyState::kPendingImport;
      return true;
    };
    TRY(EditKey(*seen, event, edit));
    return answer;
  });
}

}  // namespace secretfs::store
