#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/key_spec.h"

// Writes DER (X.690) by hand, so that tests can write it wrong.
namespace secretfs::crypto::der {

inline Bytes Join(std::initializer_list<ByteSpan> parts) {
  Bytes joined;
  for (const ByteSpan part : parts) joined.insert(joined.end(), part.begin(), part.end());
  return joined;
}

inline Bytes Element(uint8_t tag, ByteSpan body) {
  const size_t size = body.size();
  Bytes head{tag};
  if (size < 0x80) {
    head.push_back(static_cast<uint8_t>(size));
  } else if (size < 0x100) {
    head.insert(head.end(), {0x81, static_cast<uint8_t>(size)});
  } else {
    head.insert(head.end(), {0x82, static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)});
  }
  return Join({head, body});
}

inline Bytes Sequence(std::initializer_list<ByteSpan> parts) {
  return Element(0x30, Join(parts));
}
inline Bytes OctetString(ByteSpan body) {
  return Element(0x04, body);
}
// INTEGER of an unsigned big-endian number.
inline Bytes Unsigned(ByteSpan number) {
  const auto first = std::ranges::find_if(number, [](uint8_t byte) { return byte != 0; });
  Bytes body(first, number.end());
  if (body.empty() || body[0] >= 0x80) body.insert(body.begin(), 0);
  return Element(0x02, body);
}

inline Bytes CurveOid(KeySpec spec) {
  switch (spec) {
    case KeySpec::kEccNistP256:
      return FromHex("06082a8648ce3d030107").value();
    case KeySpec::kEccNistP384:
      return FromHex("06052b81040022").value();
    case KeySpec::kEccNistP521:
      return FromHex("06052b81040023").value();
    case KeySpec::kEccSecgP256k1:
      return FromHex("06052b8104000a").value();
    default:
      throw std::runtime_error("no curve");
  }
}

inline Bytes EcAlgorithm(KeySpec spec) {
  return Sequence({FromHex("06072a8648ce3d0201").value(), CurveOid(spec)});
}

// PrivateKeyInfo of a scalar, with its public part if that is not empty (SEC 1: 04 || x || y).
inline Bytes EcPrivateKeyInfo(KeySpec spec, ByteSpan scalar, ByteSpan point = {}) {
  const Bytes version{0x02, 0x01, 0x00};
  const Bytes ec_version{0x02, 0x01, 0x01};
  const Bytes unused_bits{0x00};
  const Bytes public_part =
      point.empty() ? Bytes{} : Element(0xa1, Element(0x03, Join({unused_bits, point})));
  const Bytes key = Sequence({ec_version, OctetString(scalar), public_part});
  return Sequence({version, EcAlgorithm(spec), OctetString(key)});
}

// SubjectPublicKeyInfo of an encoded point.
inline Bytes EcPublicKeyInfo(KeySpec spec, ByteSpan point) {
  const Bytes unused_bits{0x00};
  return Sequence({EcAlgorithm(spec), Element(0x03, Join({unused_bits, point}))});
}

// PrivateKeyInfo of an Ed25519 seed (RFC 8410).
inline Bytes Ed25519PrivateKeyInfo(ByteSpan seed) {
  const Bytes version{0x02, 0x01, 0x00};
  return Sequence({version, FromHex("300506032b6570").value(), OctetString(OctetString(seed))});
}

inline Bytes EcdsaSignature(ByteSpan r, ByteSpan s) {
  return Sequence({Unsigned(r), Unsigned(s)});
}

}  // namespace secretfs::crypto::der
