#include "store/kms_page.h"

#include <algorithm>

#include "crypto/base64.h"

namespace secretfs::store {
namespace {

constexpr int64_t kLimitMax = 1000;

}  // namespace

Result<PageInProgress> PageInProgress::Open(const KmsStore& records, const PageRequest& request,
                                            const std::string& question, PageLimits limits) {
  const int64_t limit = request.limit.value_or(limits.usual);
  if (limit < 1 || limit > kLimitMax) {
    return Fail(Code::kValidation, "1 validation error detected: Value '" + std::to_string(limit) +
                                       "' at 'limit' failed to satisfy constraint: Member must "
                                       "have value between 1 and 1000");
  }
  PageInProgress page(records, "marker of " + question,
                      static_cast<size_t>(std::min(limit, limits.most)));
  if (request.marker.empty()) return page;
  const auto token = crypto::Base64Decode(AsBytes(request.marker));
  if (token) {
    if (const auto cursor = records.OpenToken(page.question_, token->Reveal())) {
      page.cursor_.assign(cursor->Reveal().begin(), cursor->Reveal().end());
      return page;
    }
  }
  return Fail(Code::kInvalidMarker,
              "The marker does not belong to this request; start again without one.");
}

std::string PageInProgress::Marker() const {
  return std::string(AsText(crypto::Base64Encode(records_.SealToken(question_, cursor_)).Reveal()));
}

}  // namespace secretfs::store
