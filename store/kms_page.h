#pragma once

#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "store/kms_requests.h"
#include "store/kms_store.h"

namespace secretfs::store {

struct PageLimits {
  int64_t most;
  int64_t usual;
};

// A page of a list of KMS while it is filled. Its marker is sealed together with what was asked
// for, so that it is opaque and belongs to that question alone.
class PageInProgress {
 public:
  // `question` names the operation and all that selects its entries; `records` must outlive this.
  // Errors: kValidation for a limit that is not 1..1000; kInvalidMarker.
  static Result<PageInProgress> Open(const KmsStore& records, const PageRequest& request,
                                     const std::string& question, PageLimits limits);

  // Where the last page ended; empty for the first.
  const Bytes& cursor() const { return cursor_; }

  // Appends `entry`, which `cursor` goes on after; or, if the page is full, ends it with a marker.
  // Returns whether to go on.
  template <typename Entry>
  bool Add(KmsPage<Entry>& page, ByteSpan cursor, Entry entry) {
    if (page.entries.size() == limit_) {
      page.next_marker = Marker();
      return false;
    }
    page.entries.push_back(std::move(entry));
    cursor_.assign(cursor.begin(), cursor.end());
    return true;
  }

  // Passes over an entry that was not asked for. A page ends after kPassedOverMax of them, so that
  // no request reads a whole list. Returns whether to go on.
  template <typename Entry>
  bool PassOver(KmsPage<Entry>& page, ByteSpan cursor) {
    cursor_.assign(cursor.begin(), cursor.end());
    if (++passed_over_ < kPassedOverMax) return true;
    page.next_marker = Marker();
    return false;
  }

 private:
  static constexpr size_t kPassedOverMax = 500;

  PageInProgress(const KmsStore& records, std::string question, size_t limit)
      : records_(records), question_(std::move(question)), limit_(limit) {}
  std::string Marker() const;

  const KmsStore& records_;
  std::string question_;
  size_t limit_;
  size_t passed_over_ = 0;
  Bytes cursor_;
};

}  // namespace secretfs::store
