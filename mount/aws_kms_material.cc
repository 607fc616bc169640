// Key material that changes: rotation, and what is imported.

#include <array>
#include <utility>

#include "mount/aws_kms_members.h"
#include "mount/aws_kms_operations.h"

namespace secretfs::mount {
namespace {

constexpr LengthLimits kMaterialIdLimits{.characters_max = 64};

// The two values of members that are flags by another name.
enum class RotationsShown : uint8_t { kAllKeyMaterial, kRotationsOnly };
constexpr std::array kRotationsShown = {RotationsShown::kAllKeyMaterial,
                                        RotationsShown::kRotationsOnly};
std::string_view RotationsShownName(RotationsShown shown) {
  return shown == RotationsShown::kAllKeyMaterial ? "ALL_KEY_MATERIAL" : "ROTATIONS_ONLY";
}

enum class ExpirationModel : uint8_t { kExpires, kDoesNotExpire };
constexpr std::array kExpirationModels = {ExpirationModel::kExpires,
                                          ExpirationModel::kDoesNotExpire};
std::string_view ExpirationModelName(ExpirationModel model) {
  return model == ExpirationModel::kExpires ? "KEY_MATERIAL_EXPIRES"
                                            : "KEY_MATERIAL_DOES_NOT_EXPIRE";
}

constexpr std::array kImportTypes = {store::ImportType::kNewKeyMaterial,
                                     store::ImportType::kExistingKeyMaterial};
std::string_view ImportTypeName(store::ImportType type) {
  return type == store::ImportType::kNewKeyMaterial ? "NEW_KEY_MATERIAL" : "EXISTING_KEY_MATERIAL";
}

Json RotationJson(const store::KeyRotation& rotation, const std::string& key_id) {
  Json out;
  out["KeyId"] = key_id;
  out["KeyMaterialId"] = ToHex(rotation.id);
  if (!rotation.description.empty()) out["KeyMaterialDescription"] = rotation.description;
  out["KeyMaterialState"] = store::MaterialStateName(rotation.state);
  if (rotation.valid_to) {
    out["ExpirationModel"] = ExpirationModelName(ExpirationModel::kExpires);
    out["ValidTo"] = SecondsOf(*rotation.valid_to);
  }
  if (rotation.rotation != store::RotationType::kNone) {
    out["RotationDate"] = SecondsOf(rotation.rotated_at);
    out["RotationType"] = store::RotationTypeName(rotation.rotation);
  }
  return out;
}

std::string ImportedJson(const store::ImportedKeyMaterial& material) {
  Json out;
  out["KeyId"] = material.key_id;
  if (!material.key_material_id.empty()) out["KeyMaterialId"] = material.key_material_id;
  return ToText(out);
}

}  // namespace

AwsOutcome AwsKmsOperations::EnableKeyRotation(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::EnableKeyRotationRequest request{
      .key_id = in.RequiredText("KeyId"),
      .rotation_period_in_days = in.Integer("RotationPeriodInDays"),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.EnableKeyRotation(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::DisableKeyRotation(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY(kms_.DisableKeyRotation(call.caller, request));
  return "{}";
}

AwsOutcome AwsKmsOperations::GetKeyRotationStatus(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const store::KeyRotationStatus status,
             kms_.GetKeyRotationStatus(call.caller, request));
  Json out;
  out["KeyRotationEnabled"] = status.enabled;
  out["KeyId"] = status.key_id;
  if (status.period_in_days > 0) out["RotationPeriodInDays"] = status.period_in_days;
  if (status.next_rotation) out["NextRotationDate"] = SecondsOf(*status.next_rotation);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::RotateKeyOnDemand(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::KeyRequest request = ReadKey(in, call);
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const std::string arn, kms_.RotateKeyOnDemand(call.caller, request));
  Json out;
  out["KeyId"] = arn;
  return ToText(out);
}

AwsOutcome AwsKmsOperations::ListKeyRotations(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ListKeyRotationsRequest request{
      .key_id = in.RequiredText("KeyId"),
      .all_key_material =
          in.OneOf<RotationsShown>("IncludeKeyMaterial", kRotationsShown, &RotationsShownName) ==
          RotationsShown::kAllKeyMaterial,
      .page = ReadPage(in),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto page, kms_.ListKeyRotations(call.caller, request));
  // The id, also where an ARN was asked for.
  const std::string key_id = request.key_id.substr(request.key_id.rfind('/') + 1);
  Json out;
  out["Rotations"] = Json::array();
  for (const store::KeyRotation& rotation : page.entries) {
    out["Rotations"].push_back(RotationJson(rotation, key_id));
  }
  PutPageEnd(out, page.next_marker);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::GetParametersForImport(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ParametersForImportRequest request{
      .key_id = in.RequiredText("KeyId"),
      .wrapping = {ReadRequiredName<crypto::WrappingAlgorithm>(in, "WrappingAlgorithm"),
                   ReadRequiredName<crypto::WrappingKeySpec>(in, "WrappingKeySpec")},
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto parameters, kms_.GetParametersForImport(call.caller, request));
  Json out;
  out["KeyId"] = parameters.key_id;
  out["ImportToken"] = Base64Text(parameters.import_token);
  out["PublicKey"] = Base64Text(parameters.public_key);
  out["ParametersValidTo"] = SecondsOf(parameters.valid_to);
  return ToText(out);
}

AwsOutcome AwsKmsOperations::ImportKeyMaterial(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::ImportKeyMaterialRequest request{
      .key_id = in.RequiredText("KeyId"),
      .import_token = ReadRequiredBlob(in, "ImportToken"),
      .encrypted_key_material = ReadRequiredBlob(in, "EncryptedKeyMaterial"),
      .valid_to = in.Time("ValidTo"),
      .expires = in.OneOf<ExpirationModel>("ExpirationModel", kExpirationModels,
                                           &ExpirationModelName) != ExpirationModel::kDoesNotExpire,
      .import_type = in.OneOf<store::ImportType>("ImportType", kImportTypes, &ImportTypeName),
      .key_material_description = in.Text("KeyMaterialDescription", kAnyLength).value_or(""),
      .key_material_id = in.Text("KeyMaterialId", kMaterialIdLimits).value_or(""),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto imported, kms_.ImportKeyMaterial(call.caller, request));
  return ImportedJson(imported);
}

AwsOutcome AwsKmsOperations::DeleteImportedKeyMaterial(AwsCall& call) {
  MemberReader in(call.message.members);
  const store::DeleteImportedKeyMaterialRequest request{
      .key_id = in.RequiredText("KeyId"),
      .key_material_id = in.Text("KeyMaterialId", kMaterialIdLimits).value_or(""),
      .request_id = call.request_id};
  if (in.failed()) return RefuseMember(in);
  TRY_ASSIGN(const auto deleted, kms_.DeleteImportedKeyMaterial(call.caller, request));
  return ImportedJson(deleted);
}

}  // namespace secretfs::mount
