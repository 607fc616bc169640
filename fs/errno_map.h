#pragma once

#include "crypto/base/result.h"

namespace secretfs::fs {

// The errno that a file operation answers for an error (DESIGN.md section 1, errno contract). One
// switch, no default.
int ErrnoOf(Code code);

}  // namespace secretfs::fs
