#pragma once

#include <map>
#include <optional>
#include <vector>

#include "crypto/aead.h"
#include "crypto/keyring.h"

namespace secretfs::crypto {

// Keys in memory, wrapped as a store keeps them.
class MemoryKeySource final : public KeySource {
 public:
  struct Key {
    KeyId id{};
    std::vector<WrappedMaterial> materials;  // The last one is the current.
    bool usable = true;
    std::optional<TimeMs> valid_to;
  };

  explicit MemoryKeySource(RootKey& root_key) : root_key_(root_key) {}

  Key& Add(RandomSource& random) {
    const KeyId id = NewUuid(random);
    Key& key = keys_[id];
    key.id = id;
    AddGeneration(key, random);
    return key;
  }
  void AddGeneration(Key& key, RandomSource& random) {
    key.materials.push_back(NewMaterial(key.id, root_key_, random).value());
  }

  Result<Material> Load(const KeyId& key, const MaterialId* material) override {
    ++loads;
    const auto found = keys_.find(key);
    if (found == keys_.end() || !found->second.usable) {
      return Fail(Code::kKeyUnavailable, "no KMS key " + FormatUuid(key));
    }
    for (const WrappedMaterial& candidate : found->second.materials) {
      const bool is_current = &candidate == &found->second.materials.back();
      if (material == nullptr ? !is_current : candidate.id != *material) continue;
      auto bytes = UnwrapMaterial(root_key_, key, candidate.id, candidate.wrapped);
      if (!bytes) return std::unexpected(std::move(bytes).error());
      return Material{candidate.id, KeySpec::kSymmetricDefault, *std::move(bytes),
                      found->second.valid_to};
    }
    return Fail(Code::kKeyUnavailable, "no such key material");
  }

  int loads = 0;

 private:
  RootKey& root_key_;
  std::map<KeyId, Key> keys_;
};

}  // namespace secretfs::crypto
