#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/result.h"
#include "crypto/secret_buffer.h"

namespace secretfs::mount {

// The three streams of a command as descriptors, so that a test can give pipes or a
// pseudo-terminal, and so that no stdio buffer ever holds a value. Does not own them.
class Terminal {
 public:
  Terminal(int in, int out, int err);

  bool input_is_terminal() const { return input_is_terminal_; }
  bool output_is_terminal() const { return output_is_terminal_; }
  bool error_is_terminal() const { return error_is_terminal_; }

  // Text for people or scripts, as it is.
  Status Write(std::string_view text) { return WriteBytes(AsBytes(text)); }
  Status WriteBytes(ByteSpan bytes);
  // One line on standard error; failures are ignored, for there is nowhere left to report them.
  void WriteError(std::string_view line);

  // Everything up to the end of input. Errors: kInvalidArgument if it is longer than `limit` bytes,
  // `what` names it.
  Result<crypto::SecretBuffer> ReadInput(size_t limit, const std::string& what);
  // The same from any descriptor.
  static Result<crypto::SecretBuffer> ReadAll(int fd, size_t limit, const std::string& what);

  // One line without its newline: typed after `prompt` with echo off if the input is a terminal,
  // else read as it comes. Ctrl-C and other signals restore the terminal first. Errors:
  // kInvalidArgument (longer than `limit`, or no line at all), kUnavailable (interrupted).
  Result<crypto::SecretBuffer> ReadSecretLine(std::string_view prompt, size_t limit);

 private:
  const int in_;
  const int out_;
  const int err_;
  const bool input_is_terminal_;
  const bool output_is_terminal_;
  const bool error_is_terminal_;
};

// Rows of columns as text: aligned under `header` with two spaces between for a terminal, else
// without the header and separated by tabs, one line a row. Control characters become "?", so that
// stored text cannot steer a terminal or forge a line.
std::string FormatTable(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows, bool aligned);

// `text` with every control character as "?".
std::string Printable(std::string_view text);

}  // namespace secretfs::mount
